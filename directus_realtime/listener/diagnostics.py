"""Checks of a connection and its subscriptions, and of how their changes are received."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from django.core.exceptions import ImproperlyConfigured

from directus_realtime.client import DirectusClient
from directus_realtime.client.rest import Accountability, ServerInfo
from directus_realtime.client.system_collections import known_gap
from directus_realtime.exceptions import (
    ConnectionFailed,
    DirectusRealtimeError,
    RequestRefused,
    SubscriptionRefused,
)
from directus_realtime.listener.desired_subscriptions import DesiredSubscription
from directus_realtime.listener.follower.log_access import LogAccess
from directus_realtime.listener.permissions import Permissions, explain_permissions
from directus_realtime.settings import ConnectionSettings

#: Seconds for connecting, for the WebSocket, and for each subscription.
TIMEOUT = 20.0

#: Source of the changes of a subscription: the activity log, the WebSocket alone, or an activity
#: log that is not known to have all changes.
Source = Literal["log", "socket", "unknown"]

_PARTIAL = "A rule hides items of it from the token: changes of those are not seen."
_NOT_LOGGED = (
    "Its accountability is off, so the activity log has no changes of it. It is socket only: "
    "what the WebSocket does not bring is lost."
)
_LOG_UNUSABLE = "It is socket only: what the WebSocket does not bring is lost."
_LOGGED_UNKNOWN = (
    "Whether its changes are in the activity log is not known: the token may not read it in "
    "directus_collections."
)
_NO_SOURCE = "Nothing is received: its changes are not in the log, and there is no WebSocket."


@dataclass
class SubscriptionReport:
    """Result of the check of a subscription.

    Attributes:
        name: Name of the subscription.
        collection: Name of its collection.
        ok: Whether its changes are received.
        reason: Why they are not, in the server's words where it refuses; else empty.
        primary_key: Name and type of the primary key, for example ``id (integer)``.
        source: Source of its changes.
        accountability: Accountability of the collection.
        is_partial: Whether a rule hides some items from the token.
        notes: Further sentences; none of them is an error.
    """

    name: str
    collection: str
    ok: bool
    reason: str = ""
    primary_key: str = ""
    source: Source = "log"
    accountability: Accountability = "unknown"
    is_partial: bool = False
    notes: list[str] = field(default_factory=list)


@dataclass
class LogReport:
    """Readability of the activity log.

    Attributes:
        access: ``full``, ``partial`` or ``none``; empty where it is unknown.
        problem: Why the log cannot be used, as a sentence; empty where it can.
        reads_user: Whether ``changed_by`` of events can be filled.
        oldest_change: Time of the oldest change in the log; ``None`` where it has none.
        days: Days that the log reaches back; ``None`` where it has no change.
    """

    access: str = ""
    problem: str = ""
    reads_user: bool = False
    oldest_change: datetime | None = None
    days: float | None = None


@dataclass
class _Report:
    """Result of a check.

    Attributes:
        alias: Alias of the connection.
        url: Its address.
        ok: Whether nothing is missing.
        reason: Why the check failed; else empty.
        identity: User of the token.
    """

    alias: str
    url: str
    ok: bool = False
    reason: str = ""
    identity: str = ""


@dataclass
class ConnectionReport(_Report):
    """Result of the check of a connection, and of the changes of each subscription.

    Attributes:
        server: Information of the server about itself.
        socket_problem: Why there is no WebSocket; empty where one is open.
        poll_interval: Seconds between two polls of the log without a WebSocket.
        log: The activity log.
        lets_search_through: Whether a proxy allows the method SEARCH.
        cache_lifetime: Seconds for which Directus answers GET from its cache; 0 for not at all.
        clock_ahead: Whole seconds that the server's clock is ahead of ours.
        subscriptions: One report each.
    """

    server: ServerInfo | None = None
    socket_problem: str = ""
    poll_interval: float = 0
    log: LogReport = field(default_factory=LogReport)
    lets_search_through: bool = True
    cache_lifetime: float = 0
    clock_ahead: int = 0
    subscriptions: list[SubscriptionReport] = field(default_factory=list)


@dataclass
class PermissionsReport(_Report):
    """Result of the check of the permissions of a connection's user.

    Attributes:
        permissions: The permissions; ``None`` where the check failed.
    """

    permissions: Permissions | None = None


async def check_connection(
    settings: ConnectionSettings, desired: Iterable[DesiredSubscription]
) -> ConnectionReport:
    """Connect as the listener does, check the log and each subscription, and disconnect.

    Args:
        settings: Settings of the connection.
        desired: The subscriptions to check.
    """
    report = ConnectionReport(settings.alias, settings.url, poll_interval=settings.poll_interval)

    async def check(client: DirectusClient, socket_tried: asyncio.Event) -> None:
        access = LogAccess(client, logs=False)
        await access.learn()
        report.log = await _check_log(client, access)
        report.cache_lifetime = await client.cache_lifetime()
        report.socket_problem = await _socket_problem(client, socket_tried)
        for each in desired:
            found = await _check_subscription(client, access, each)
            _judge(found, has_socket=not report.socket_problem)
            report.subscriptions.append(found)
        report.lets_search_through = client.lets_search_through
        report.clock_ahead = round(client.clock.ahead.total_seconds())

    report.server = await _connected(settings, report, check)
    report.ok = not report.reason and all(each.ok for each in report.subscriptions)
    return report


async def check_permissions(
    settings: ConnectionSettings, desired: Iterable[DesiredSubscription]
) -> PermissionsReport:
    """Connect, and compare the permissions of the user with those that it needs.

    Args:
        settings: Settings of the connection.
        desired: The subscriptions.
    """
    report = PermissionsReport(settings.alias, settings.url)

    async def explain(client: DirectusClient, _socket_tried: asyncio.Event) -> None:
        report.permissions = await explain_permissions(client.rights, desired)

    await _connected(settings, report, explain)
    report.ok = report.permissions is not None and report.permissions.is_enough
    return report


async def _connected(
    settings: ConnectionSettings,
    report: _Report,
    work: Callable[[DirectusClient, asyncio.Event], Awaitable[None]],
) -> ServerInfo | None:
    """Run a check while connected; set the identity or the reason of the report.

    The check gets the client, and an event that is set once the WebSocket is open or refused.
    """
    socket_tried = asyncio.Event()

    def note_socket() -> None:
        if client.is_connected:
            socket_tried.set()

    try:
        client = settings.make_client(socket="optional", on_socket=note_socket)
    except (DirectusRealtimeError, ImproperlyConfigured) as error:
        report.reason = str(error)
        return None
    try:
        await connect(client)
        report.identity = client.identity
        await work(client, socket_tried)
    except DirectusRealtimeError as error:
        report.reason = str(error)
    finally:
        await client.disconnect()
    return client.server


async def connect(client: DirectusClient) -> None:
    """Connect within :data:`TIMEOUT`.

    Raises:
        ConnectionFailed: Directus could not be reached in time.
    """
    try:
        async with asyncio.timeout(TIMEOUT):
            await client.connect()
    except TimeoutError:
        reason = client.reason or f"Not connected within {TIMEOUT:g} s."
        raise ConnectionFailed(reason) from None


async def _socket_problem(client: DirectusClient, tried: asyncio.Event) -> str:
    """Wait until the WebSocket is open or refused; return why there is none, else ``""``."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(TIMEOUT):
            await tried.wait()
    return client.socket_problem


async def _check_log(client: DirectusClient, access: LogAccess) -> LogReport:
    report = LogReport(access.access, access.problem and f"{access.problem}.")
    if access.problem:
        return report
    log = client.activity
    try:
        oldest = await log.oldest_change()
    except RequestRefused as error:
        report.problem = str(error)
        return report
    report.reads_user = log.reads_user
    if oldest is not None:
        report.oldest_change = oldest.timestamp
        report.days = round((client.clock.now() - oldest.timestamp) / timedelta(days=1), 1)
    return report


async def _check_subscription(
    client: DirectusClient, access: LogAccess, desired: DesiredSubscription
) -> SubscriptionReport:
    collection = desired.query.collection
    report = SubscriptionReport(desired.name, collection, ok=True)
    try:
        async with asyncio.timeout(TIMEOUT):
            key = await client.check_query(desired.query)
    except SubscriptionRefused as error:
        report.ok, report.reason = False, f"refused: {error}"
        return report
    except TimeoutError:
        report.ok, report.reason = False, f"no answer within {TIMEOUT:g} s."
        return report
    await access.ask(collection)
    report.primary_key = f"{key.name} ({key.type})" if key.type else key.name
    report.accountability = access.accountability(collection)
    report.is_partial = access.is_partial(collection)
    if not access.is_logged(collection):
        report.source = "socket"
    elif not access.is_certain(collection):
        report.source = "unknown"
    report.notes = list(_notes(client, report))
    return report


def _judge(report: SubscriptionReport, *, has_socket: bool) -> None:
    """Fail a subscription that has neither the log nor a WebSocket."""
    if report.ok and report.source == "socket" and not has_socket:
        report.ok, report.reason = False, _NO_SOURCE


def _notes(client: DirectusClient, report: SubscriptionReport) -> Iterator[str]:
    if report.accountability == "none":
        yield _NOT_LOGGED
    elif report.source == "socket":
        yield _LOG_UNUSABLE
    elif report.source == "unknown":
        yield _LOGGED_UNKNOWN
    if report.is_partial:
        yield _PARTIAL
    version = client.server.version if client.server else ""
    if gap := known_gap(report.collection, version):
        yield gap
