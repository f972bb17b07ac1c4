"""Tries a connection and its subscriptions, and says what works."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from django.core.exceptions import ImproperlyConfigured

from directus_realtime.client import DirectusClient
from directus_realtime.client.rest import Accountability, ServerInfo
from directus_realtime.client.system import known_gap
from directus_realtime.exceptions import DirectusRealtimeError, SubscriptionRefused
from directus_realtime.listener.permissions import Permissions, explain_permissions
from directus_realtime.listener.wanted import Wanted
from directus_realtime.settings import ConnectionSettings

#: Seconds for connecting, and for each subscription.
TIMEOUT = 20.0


#: What a collection's accountability means for catching up, where it is not all well.
_LOG_NOTES: dict[Accountability, str] = {
    "none": (
        "Its accountability is off: the activity log has nothing of it, and what is missed "
        "cannot be caught up."
    ),
    "unknown": (
        "Whether its changes are in the activity log is not known: the token may not read it in "
        "directus_collections."
    ),
}


@dataclass
class SubscriptionReport:
    """Whether a subscription can be had, and what is to know about its collection.

    Attributes:
        name: Of the subscription.
        collection: What it asks for.
        ok: Whether it can be had.
        reason: The server's sentence where not.
        accountability: What Directus logs of the collection's changes.
        notes: What to know, as sentences; nothing of it is an error.
    """

    name: str
    collection: str
    ok: bool
    reason: str = ""
    accountability: Accountability = "unknown"
    notes: list[str] = field(default_factory=list)


@dataclass
class ConnectionReport:
    """What was found out about a connection.

    Attributes:
        alias: Of the connection.
        url: Its address.
        ok: Whether it could be authenticated and each subscription be had.
        reason: Why it could not be authenticated; else empty.
        identity: Who the token is.
        server: What the server says of itself.
        activity: How much of the activity log the token may read: ``full``, ``partial``
            or ``none``; empty where that could not be asked.
        subscriptions: One report each.
    """

    alias: str
    url: str
    ok: bool = False
    reason: str = ""
    identity: str = ""
    server: ServerInfo | None = None
    activity: str = ""
    subscriptions: list[SubscriptionReport] = field(default_factory=list)


@dataclass
class PermissionsReport:
    """Which permissions the user of a connection needs, has and lacks.

    Attributes:
        alias: Of the connection.
        url: Its address.
        ok: Whether nothing is missing.
        reason: Why it could not be found out; else empty.
        identity: Who the token is.
        permissions: What was found out; ``None`` where nothing was.
    """

    alias: str
    url: str
    ok: bool = False
    reason: str = ""
    identity: str = ""
    permissions: Permissions | None = None


async def check_connection(
    settings: ConnectionSettings, wanted: Iterable[Wanted]
) -> ConnectionReport:
    """Connect as the listener does, ask for each subscription, and disconnect.

    Args:
        settings: Of the connection.
        wanted: The subscriptions to try.
    """
    report = ConnectionReport(settings.alias, settings.url)

    async def check(client: DirectusClient) -> None:
        report.activity = await client.read_access("directus_activity")
        report.subscriptions = [await _try(client, entry) for entry in wanted]

    report.server = await _connected(settings, report, check)
    report.ok = not report.reason and all(entry.ok for entry in report.subscriptions)
    return report


async def check_permissions(
    settings: ConnectionSettings, wanted: Iterable[Wanted]
) -> PermissionsReport:
    """Connect, and find out which permissions the user needs, and which of them it lacks.

    Args:
        settings: Of the connection.
        wanted: The subscriptions.
    """
    report = PermissionsReport(settings.alias, settings.url)

    async def explain(client: DirectusClient) -> None:
        report.permissions = await explain_permissions(client.rights, wanted)

    await _connected(settings, report, explain)
    report.ok = report.permissions is not None and report.permissions.is_enough
    return report


async def _connected(
    settings: ConnectionSettings,
    report: ConnectionReport | PermissionsReport,
    work: Callable[[DirectusClient], Awaitable[None]],
) -> ServerInfo | None:
    """Do something while connected, and note in the report who we are or what went wrong.

    Returns:
        What the server said of itself.
    """
    try:
        client = settings.make_client()
    except (DirectusRealtimeError, ImproperlyConfigured) as error:
        report.reason = str(error)
        return None
    try:
        await _connect(client, report)
        if client.is_connected:
            report.identity = client.identity
            await work(client)
    except DirectusRealtimeError as error:
        report.reason = str(error)
    finally:
        await client.disconnect()
    return client.server


async def _connect(client: DirectusClient, report: ConnectionReport | PermissionsReport) -> None:
    try:
        async with asyncio.timeout(TIMEOUT):
            await client.connect()
    except TimeoutError:
        report.reason = client.reason or f"Not connected within {TIMEOUT:g} s."


async def _try(client: DirectusClient, wanted: Wanted) -> SubscriptionReport:
    collection = wanted.query.collection
    report = SubscriptionReport(wanted.name, collection, ok=True)
    subscription = client.add(wanted.query, name=wanted.name, uid=wanted.uid)
    try:
        async with asyncio.timeout(TIMEOUT):
            await subscription.feed.settled()
    except SubscriptionRefused as error:
        report.ok, report.reason = False, str(error)
    except TimeoutError:
        report.ok, report.reason = False, f"No answer within {TIMEOUT:g} s."
    finally:
        client.unsubscribe(subscription)
    if report.ok:
        report.accountability = await client.accountability(collection)
        report.notes = _notes(client, collection, report.accountability)
    return report


def _notes(client: DirectusClient, collection: str, accountability: Accountability) -> list[str]:
    gap = known_gap(collection, client.server.version if client.server else "")
    return [note for note in (_LOG_NOTES.get(accountability, ""), gap) if note]
