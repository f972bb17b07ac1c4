"""System checks; an id is never used again for something else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from directus_realtime.settings import SETTING, configured, find_problems, split_url

_LABEL = "directus_realtime"
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_IN_MEMORY_LAYER = "channels.layers.InMemoryChannelLayer"


@register(Tags.compatibility)
def check_connections(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E001 to E008, E011, E020, E021, W001: the setting ``DIRECTUS_REALTIME``."""
    value = getattr(settings, SETTING, None)
    if not isinstance(value, dict) or not all(isinstance(entry, dict) for entry in value.values()):
        message = f"{SETTING} must be a dict of connections by alias."
        hint = f'{SETTING} = {{"default": {{"URL": "https://cms.example.com", "TOKEN": …}}}}'
        return [Error(message, hint=hint, id=f"{_LABEL}.E001")]
    return [message for alias in value for message in _check_connection(alias)]


def _check_connection(alias: object) -> Iterator[CheckMessage]:
    if not isinstance(alias, str) or not re.fullmatch(r"[A-Za-z0-9_]{1,40}", alias):
        yield Error(
            f"The alias {alias!r} in {SETTING} cannot be part of a group name.",
            hint="Use up to 40 letters, digits and underscores.",
            id=f"{_LABEL}.E007",
        )
    values = configured()[alias]  # type: ignore[index]
    for problem in find_problems(values):
        yield Error(
            f"{SETTING}[{alias!r}]: {problem.message}",
            hint=problem.hint,
            id=f"{_LABEL}.E{problem.number:03}",
        )
    url = split_url(values.get("URL"))
    if url is not None and url.scheme == "http" and url.hostname not in _LOCAL_HOSTS:
        yield Warning(
            f"{SETTING}[{alias!r}]: URL is http, so the token travels unencrypted.",
            hint="Use https, unless the network between the two is private.",
            id=f"{_LABEL}.W001",
        )


@register(Tags.compatibility)
def check_channel_layer(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """W002, W003: a channel layer that carries group messages to the web process."""
    layer = getattr(settings, "CHANNEL_LAYERS", {}).get("default")
    hint = (
        'Set CHANNEL_LAYERS["default"]["BACKEND"] to '
        '"directus_realtime.layers.InboxChannelLayer" (no server needed) '
        'or "channels_redis.pubsub.RedisPubSubChannelLayer".'
    )
    if layer is None:
        message = "There is no channel layer, so no group messages are sent."
        return [Warning(message, hint=hint, id=f"{_LABEL}.W002")]
    if layer.get("BACKEND") == _IN_MEMORY_LAYER:
        message = "The in-memory channel layer does not reach from the listener to the web process."
        return [Warning(message, hint=hint, id=f"{_LABEL}.W003")]
    return []


@register(Tags.database)
def check_sqlite(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """W004: SQLite written by two processes."""
    database = settings.DATABASES.get("default", {})
    mode = database.get("OPTIONS", {}).get("transaction_mode")
    if not str(database.get("ENGINE", "")).endswith("sqlite3") or mode == "IMMEDIATE":
        return []
    return [
        Warning(
            "SQLite is used without IMMEDIATE transactions, so the listener and the web "
            'process will meet "database is locked".',
            hint='Set DATABASES["default"]["OPTIONS"]["transaction_mode"] = "IMMEDIATE".',
            id=f"{_LABEL}.W004",
        )
    ]
