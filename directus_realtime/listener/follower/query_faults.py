"""Faults of one query: Directus answers others, so they must not end the work for all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TypeVar

from directus_realtime.client import DirectusClient
from directus_realtime.client.responses import MALFORMED
from directus_realtime.exceptions import (
    ConnectionFailed,
    DirectusRealtimeError,
    RequestRefused,
    SubscriptionRefused,
)

T = TypeVar("T")

#: Answers that are about the token or the load of the server, whatever was asked.
_OF_THE_SERVER = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
    }
)


async def ask(client: DirectusClient, question: Callable[[], Awaitable[T]]) -> T:
    """Ask Directus about one query, and once more where it fails to answer.

    A query that takes too long, or ends the process of the server, fails each time. Whether
    the fault is in the query shows in the activity log, which is read in between.

    Args:
        client: To read the log with.
        question: Asks; may be called twice.

    Raises:
        SubscriptionRefused: Directus fails to answer this query, though it answers others.
        RequestRefused: Directus is not ready to answer, or refuses the query.
        ConnectionFailed: Directus could not be reached.
    """
    try:
        return await question()
    except (RequestRefused, ConnectionFailed) as error:
        if not _may_be_of_the_query(error) or not await _reads_log(client):
            raise
    try:
        return await question()
    except (RequestRefused, ConnectionFailed) as error:
        if not _may_be_of_the_query(error) or not await _reads_log(client):
            raise
        raise SubscriptionRefused("", f"Directus fails to answer the query: {error}") from None


def _may_be_of_the_query(error: DirectusRealtimeError) -> bool:
    if isinstance(error, RequestRefused):
        is_failure = error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        is_failure = is_failure or error.status == HTTPStatus.REQUEST_TIMEOUT
        is_failure = is_failure or error.code == MALFORMED
        return is_failure and error.status not in _OF_THE_SERVER
    return True


async def _reads_log(client: DirectusClient) -> bool:
    try:
        await client.activity.newest()
    except (RequestRefused, ConnectionFailed):
        return False
    return True
