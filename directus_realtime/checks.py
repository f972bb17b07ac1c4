"""System checks; an id is never reused.

Each is explained in ``docs/checks.md``, below a heading that is its number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch, reverse

from directus_realtime.database import own_alias
from directus_realtime.events import Action
from directus_realtime.receivers import connected_receivers
from directus_realtime.settings import SETTING, configured, find_problems, split_url
from directus_realtime.signals import DirectusSignal, signals_for

_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_IN_MEMORY_LAYER = "channels.layers.InMemoryChannelLayer"
_PORTS = {"http": 80, "https": 443}
#: Database connections of ``directus_listen``, one for each of its threads.
LISTENER_CONNECTIONS = 7
#: Default size of a psycopg pool.
_POOL_SIZE = 4


def _error(number: int, message: str, hint: str) -> Error:
    hint = f"{hint} See docs/checks.md#e{number:03}."
    return Error(message, hint=hint, id=f"directus_realtime.E{number:03}")


def _warning(number: int, message: str, hint: str) -> Warning:
    hint = f"{hint} See docs/checks.md#w{number:03}."
    return Warning(message, hint=hint, id=f"directus_realtime.W{number:03}")


@register(Tags.compatibility)
def check_connections(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E001 to E023, E026 to E032, W001, W005: the setting ``DIRECTUS_REALTIME``."""
    value = getattr(settings, SETTING, None)
    if not isinstance(value, dict) or not all(isinstance(entry, dict) for entry in value.values()):
        message = f"{SETTING} must be a dict of connections by alias."
        hint = f'Set {SETTING} = {{"default": {{"URL": "https://cms.example.com", "TOKEN": …}}}}.'
        return [_error(1, message, hint)]
    found = [message for alias in value for message in _check_connection(alias)]
    return [*found, *_check_doubles(value)]


def _check_connection(alias: object) -> Iterator[CheckMessage]:
    if not isinstance(alias, str) or not re.fullmatch(r"[A-Za-z0-9_]{1,40}", alias):
        yield _error(
            7,
            f"The alias {alias!r} in {SETTING} cannot be part of a group name.",
            "Use up to 40 letters, digits and underscores.",
        )
    values = configured()[alias]  # type: ignore[index]
    for problem in find_problems(values):
        yield _error(problem.number, f"{SETTING}[{alias!r}]: {problem.message}", problem.hint)
    url = split_url(values.get("URL"))
    if url is not None and url.scheme == "http" and url.hostname not in _LOCAL_HOSTS:
        yield _warning(
            1,
            f"{SETTING}[{alias!r}]: URL is http, so the token travels unencrypted.",
            "Use https, unless the network between the two is private.",
        )


def _check_doubles(connections: Mapping[str, Mapping[str, Any]]) -> Iterator[CheckMessage]:
    """Connections that are the same user on the same server."""
    first: dict[tuple[object, ...], str] = {}
    for alias, values in connections.items():
        server, user = _server(values.get("URL")), _user(values)
        if server is None or user is None:
            continue
        known = first.setdefault((server, user), alias)
        if known != alias:
            yield _warning(
                5,
                f"{SETTING}[{alias!r}] is the same user on the same server as {known!r}, so "
                "what is subscribed on both comes twice.",
                "Make subscriptions of one connection; they share its socket. For two "
                "connections on purpose, give each a user of its own in Directus.",
            )


def _server(url: object) -> tuple[object, ...] | None:
    """The normalized address of a server."""
    parts = split_url(url)
    if parts is None or parts.scheme not in _PORTS:
        return None
    port = parts.port or _PORTS[parts.scheme]
    return parts.scheme, parts.hostname, port, parts.path.rstrip("/")


def _user(values: Mapping[str, Any]) -> tuple[str, object] | None:
    """The identity of the login; a token that is a callable is compared, never called."""
    if token := values.get("TOKEN"):
        return "token", token if callable(token) else str(token)
    email = values.get("EMAIL")
    return ("email", str(email).lower()) if email else None


@register(Tags.urls)
def check_door(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """W010: a door with a secret and without an address."""
    doors = [alias for alias, values in configured().items() if _has_door(values)]
    if not doors:
        return []
    try:
        reverse("directus_door:door")
    except (NoReverseMatch, ImproperlyConfigured):
        message = f"{SETTING}[{doors[0]!r}]: there is a DOOR_SECRET, and no URL leads to the door."
        hint = 'Add path("directus/door/", include("directus_realtime.door.urls")) to the URLs.'
        return [_warning(10, message, hint)]
    return []


def _has_door(values: object) -> bool:
    return isinstance(values, Mapping) and bool(values.get("DOOR_SECRET"))


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
        return [_warning(2, message, hint)]
    if layer.get("BACKEND") == _IN_MEMORY_LAYER:
        message = "The in-memory channel layer does not reach from the listener to the web process."
        return [_warning(3, message, hint)]
    return []


@register(Tags.compatibility)
def check_receivers(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """W009: receivers that cannot be told apart by their names."""
    actions: tuple[Action, ...] = ("create", "update", "delete")
    unstable = {
        each.name.partition("#")[0]
        for sender in ["", *DirectusSignal.senders()]
        for action in actions
        for each in connected_receivers(signals_for(action), sender)
        if not each.is_stable
    }
    return [
        _warning(
            9,
            f"Several receivers have the name {name}. Where one of them fails, all of them are "
            "called again after a restart.",
            'Give each a name of its own: connect(…, dispatch_uid="shop.index").',
        )
        for name in sorted(unstable)
    ]


@register(Tags.compatibility)
def check_database(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E024, E025, W004, W006 to W008: the database of the inbox, and the times in it."""
    found: list[CheckMessage] = []
    if not settings.USE_TZ:
        message = "USE_TZ is False: times of Directus have a zone, and could not be stored."
        found.append(_error(25, message, "Set USE_TZ = True."))
    alias = own_alias()
    database = settings.DATABASES.get(alias, {})
    if str(database.get("ENGINE", "")).endswith("sqlite3"):
        return [*found, *_check_sqlite(alias, database)]
    found += _check_case(database)
    return [*found, *_check_age(alias, database), *_check_pool(alias, database)]


def _check_case(database: Mapping[str, Any]) -> Iterator[CheckMessage]:
    """Aliases that MariaDB and MySQL treat as equal."""
    if not str(database.get("ENGINE", "")).endswith("mysql"):
        return
    first: dict[str, str] = {}
    for alias in map(str, configured()):
        known = first.setdefault(alias.lower(), alias)
        if known != alias:
            yield _error(
                24,
                f"{SETTING}[{alias!r}] differs from {known!r} in case only, and the database "
                "takes the two for one.",
                "Rename one of them.",
            )


def _check_sqlite(alias: str, database: Mapping[str, Any]) -> Iterator[CheckMessage]:
    if database.get("OPTIONS", {}).get("transaction_mode") != "IMMEDIATE":
        yield _warning(
            4,
            "SQLite is used without IMMEDIATE transactions, so the listener and the web "
            'process will meet "database is locked".',
            f'Set DATABASES["{alias}"]["OPTIONS"]["transaction_mode"] = "IMMEDIATE".',
        )


def _check_age(alias: str, database: Mapping[str, Any]) -> Iterator[CheckMessage]:
    age = database.get("CONN_MAX_AGE", 0)
    if age == 0:
        return
    if not database.get("CONN_HEALTH_CHECKS", False):
        yield _warning(
            6,
            f'DATABASES["{alias}"]: CONN_MAX_AGE is {age!r} without CONN_HEALTH_CHECKS, so '
            "after a restart of the database the first query on each connection fails.",
            f'Set DATABASES["{alias}"]["CONN_HEALTH_CHECKS"] = True.',
        )
    if getattr(settings, "ASGI_APPLICATION", None):
        yield _warning(
            7,
            f'DATABASES["{alias}"]: CONN_MAX_AGE is {age!r} in a project that serves ASGI, '
            "where threads come and go and leave their connections open.",
            f'Set DATABASES["{alias}"]["CONN_MAX_AGE"] = 0 (directus_listen keeps its '
            "connections all the same), and use a pool if connecting takes long.",
        )


def _check_pool(alias: str, database: Mapping[str, Any]) -> Iterator[CheckMessage]:
    pool = database.get("OPTIONS", {}).get("pool")
    if not pool:
        return
    sizes = pool if isinstance(pool, Mapping) else {}
    size = sizes.get("max_size") or sizes.get("min_size", _POOL_SIZE)
    if size < LISTENER_CONNECTIONS:
        yield _warning(
            8,
            f'DATABASES["{alias}"]: the pool has at most {size} connections, and '
            f"directus_listen uses up to {LISTENER_CONNECTIONS} at the same time.",
            f'Set DATABASES["{alias}"]["OPTIONS"]["pool"] = '
            f'{{"max_size": {LISTENER_CONNECTIONS + 1}}} or more.',
        )
