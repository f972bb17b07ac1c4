"""Questions to the real Directus while somebody waits for a page; each has an answer in time."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, TypeVar

from asgiref.sync import async_to_sync
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _

from directus_realtime.client import DirectusClient
from directus_realtime.client.items import Sample
from directus_realtime.exceptions import (
    DirectusRealtimeError,
    RequestRefused,
    SubscriptionRefused,
)
from directus_realtime.protocol.queries import Query
from directus_realtime.protocol.redaction import redact
from directus_realtime.settings import ConnectionSettings, connection_settings

logger = logging.getLogger("directus_realtime.admin")

T = TypeVar("T")

#: Seconds in which Directus must answer.
TIMEOUT = 6.0
#: Seconds for which a schema is kept; the button reads it anew.
CACHED = 600
#: Items that a try shows.
SAMPLE_SIZE = 10


class NoAnswer(Exception):
    """Directus did not answer the question; the sentence says why.

    Attributes:
        is_refusal: Whether it is the answer of Directus, in its own words.
    """

    is_refusal = False


class Refused(NoAnswer):
    """Directus refuses what is asked for."""

    is_refusal = True


def schema_of(alias: str, *, anew: bool = False) -> dict[str, Any]:
    """The collections of a connection with their fields, as JSON has them.

    Args:
        alias: Of the connection.
        anew: Do not take it from the cache.

    Raises:
        NoAnswer: Directus could not be asked.
    """
    settings = _settings(alias)
    place = hashlib.sha256(f"{alias} {settings.url}".encode()).hexdigest()
    key = f"directus_realtime.schema.{place[:32]}"
    known: dict[str, Any] | None = None if anew else cache.get(key)
    if known is None:
        known = asdict(_ask(settings, lambda client: client.read_schema()))
        cache.set(key, known, CACHED)
    return known


def sample_of(alias: str, query: Query) -> Sample:
    """The items that match a query now.

    Raises:
        NoAnswer: Directus refused, in its own words, or could not be asked.
    """
    return _ask(_settings(alias), lambda client: client.read_sample(query, SAMPLE_SIZE))


def _settings(alias: str) -> ConnectionSettings:
    try:
        return connection_settings(alias)
    except ImproperlyConfigured as error:
        raise NoAnswer(str(error)) from None


def _ask(settings: ConnectionSettings, question: Callable[[DirectusClient], Awaitable[T]]) -> T:
    async def ask() -> T:
        client = settings.make_client()
        try:
            async with asyncio.timeout(TIMEOUT):
                return await question(client)
        finally:
            await client.disconnect()

    try:
        return async_to_sync(ask)()
    except TimeoutError:
        text = _("%(url)s did not answer within %(seconds)d seconds.")
        raise NoAnswer(text % {"url": settings.url, "seconds": TIMEOUT}) from None
    except (RequestRefused, SubscriptionRefused) as error:
        raise Refused(redact(str(error))) from None
    except (DirectusRealtimeError, ImproperlyConfigured) as error:
        raise NoAnswer(redact(str(error))) from None
    except (OSError, ValueError) as error:
        # A token that does not fit into a header, say: the error itself may quote it.
        logger.warning(
            "%s could not be asked: %s",
            settings.alias,
            type(error).__name__,
            extra={
                "what": "ask-failed",
                "connection": settings.alias,
                "error": type(error).__name__,
            },
        )
        text = _("%(url)s could not be asked (%(error)s). Check the settings of the connection.")
        values = {"url": settings.url, "error": type(error).__name__}
        raise NoAnswer(text % values) from None
