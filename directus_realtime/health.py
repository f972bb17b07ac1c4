"""How the connections stand, from the database alone: for ``directus_status`` and the admin.

Sentences are in the language at hand; the command switches that off, so that it prints the
same everywhere.
"""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Count, Max, Min
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext, gettext_noop

from directus_realtime.models import (
    ActivityCursor,
    ConnectionStatus,
    DirectusSubscription,
    InboxEvent,
    InboxState,
    ListenerLease,
    ListenerProcess,
    ListenerRole,
    SubscriptionState,
)
from directus_realtime.settings import ConnectionSettings, connection_settings

#: States of events that are not through; the others are most of the table.
OPEN_STATES = (
    InboxState.WAITING,
    InboxState.PENDING,
    InboxState.HELD,
    InboxState.DELIVERING,
    InboxState.FAILED,
    InboxState.DEAD,
)
#: Those of them that nothing keeps from being delivered now.
_DUE_STATES = (InboxState.PENDING, InboxState.DELIVERING)

NO_LISTENER = gettext_noop("No listener is running. Start it: python manage.py directus_listen")

_NOT_CONNECTED = {
    "reconnecting": gettext_noop("The connection is reconnecting."),
    "disconnected": gettext_noop("The connection is disconnected."),
}


@dataclass(frozen=True)
class Limits:
    """What is still healthy.

    Attributes:
        lag: Seconds that the oldest pending event may wait.
        dead: Dead letters; a few are for a person to look at, many are a broken receiver.
        heartbeat_age: Seconds; as long as a takeover may take.
        catch_up_age: Seconds since the activity log was last worked through, or since the
            connection is back.
    """

    lag: float = 60.0
    dead: int = 100
    heartbeat_age: float = 10.0
    catch_up_age: float = 600.0


@dataclass(frozen=True)
class InboxHealth:
    """What is in the inbox of a connection and not through.

    Attributes:
        counts: Events by state; states without any are 0.
        lag: Seconds since the oldest pending event could have been delivered, or since the
            oldest one that a worker has was handed over.
    """

    counts: dict[str, int]
    lag: float

    @property
    def dead(self) -> int:
        """Dead letters."""
        return self.counts[InboxState.DEAD]


@dataclass(frozen=True)
class CatchUpHealth:
    """How far the activity log is worked through."""

    problem: str
    rows_done: int
    rows_total: int
    caught_up_at: datetime | None
    gap_since: datetime | None
    gap_until: datetime | None
    gap_recovered: bool | None


@dataclass
class ConnectionHealth:
    """How one connection stands.

    Attributes:
        state: As it is now: ``disconnected`` where no listener runs.
        reason: Why, as a sentence.
        since: Of the state; ``None`` where no listener ever ran.
        heartbeat_age: Seconds since its listener last wrote.
        active: ``HOST:PID`` of the listener that has it, or ``""``.
        fencing_number: Of the lease of that listener.
        standing_by: ``HOST:PID`` of those that would take over.
        refused: The reasons of Directus, by subscription.
        behind: Why subscribed ones are not caught up, by subscription.
        problems: What a person should look at, as sentences; empty where all is well.
    """

    alias: str
    state: str
    reason: str
    since: datetime | None
    heartbeat_age: float | None
    last_event_at: datetime | None
    inbox: InboxHealth
    catch_up: CatchUpHealth | None
    active: str
    fencing_number: int
    standing_by: list[str]
    refused: dict[str, str]
    behind: dict[str, str]
    problems: list[str] = field(default_factory=list)


def gather(aliases: Sequence[str], limits: Limits) -> list[ConnectionHealth]:
    """How connections stand, with what is not healthy about them."""
    statuses = ConnectionStatus.objects.in_bulk(aliases)
    cursors = ActivityCursor.objects.in_bulk(aliases)
    leases = ListenerLease.objects.in_bulk(aliases)
    inboxes = inbox_health(aliases)
    last_events = _last_events(aliases)
    listeners = _living_listeners(limits)
    errors = _errors(aliases)
    found = []
    for alias in aliases:
        cursor = cursors.get(alias)
        health = ConnectionHealth(
            alias=alias,
            **_state(statuses.get(alias), limits),
            last_event_at=last_events.get(alias),
            inbox=inboxes[alias],
            catch_up=_catch_up(cursor) if cursor else None,
            **_listeners(alias, leases.get(alias), listeners),
            refused=errors[alias, SubscriptionState.REFUSED],
            behind=errors[alias, SubscriptionState.SUBSCRIBED],
        )
        health.problems = list(_problems(health, limits))
        found.append(health)
    return found


def inbox_health(aliases: Iterable[str]) -> dict[str, InboxHealth]:
    """What is not through, by connection; rows that are through are not looked at."""
    now = timezone.now()
    groups = (
        InboxEvent.objects.filter(state__in=OPEN_STATES)
        .order_by()
        .values("connection", "state")
        .annotate(
            count=Count("id"),
            due_at=Min(Coalesce("next_attempt_at", "received_at")),
            late_at=Min("next_attempt_at"),
        )
    )
    counts = {alias: {state.value: 0 for state in OPEN_STATES} for alias in aliases}
    lags = dict.fromkeys(counts, 0.0)
    for group in groups:
        alias, state = group["connection"], group["state"]
        if alias not in counts:
            continue
        counts[alias][state] = group["count"]
        if state in _DUE_STATES:
            since = group["due_at"]
            if state == InboxState.DELIVERING and group["late_at"] is not None:
                since = group["late_at"] - timedelta(seconds=_task_timeout(alias))
            lags[alias] = max(lags[alias], (now - since).total_seconds())
    return {alias: InboxHealth(counts[alias], lags[alias]) for alias in counts}


def _task_timeout(alias: str) -> float:
    """Seconds from the handing over of an event until its task counts as lost."""
    try:
        return connection_settings(alias).task_timeout
    except ImproperlyConfigured:
        return ConnectionSettings.task_timeout


def _state(status: ConnectionStatus | None, limits: Limits) -> dict[str, Any]:
    if status is None:
        return {
            "state": "disconnected",
            "reason": gettext(NO_LISTENER),
            "since": None,
            "heartbeat_age": None,
        }
    age = _age(status.heartbeat_at)
    if age > limits.heartbeat_age:
        # What it wrote last is history: since then, nobody is there.
        state, reason, since = "disconnected", gettext(NO_LISTENER), status.heartbeat_at
    else:
        state, reason, since = status.state, status.reason, status.changed_at
    return {"state": state, "reason": reason, "since": since, "heartbeat_age": age}


def _catch_up(cursor: ActivityCursor) -> CatchUpHealth:
    return CatchUpHealth(
        problem=cursor.problem,
        rows_done=cursor.rows_done,
        rows_total=cursor.rows_total,
        caught_up_at=cursor.caught_up_at,
        gap_since=cursor.gap_since,
        gap_until=cursor.gap_until,
        gap_recovered=cursor.gap_recovered,
    )


def _last_events(aliases: Iterable[str]) -> dict[str, datetime]:
    subscriptions = DirectusSubscription.objects.filter(connection__in=list(aliases))
    rows = subscriptions.order_by().values("connection").annotate(last=Max("last_event_at"))
    return {row["connection"]: row["last"] for row in rows}


def _errors(aliases: Iterable[str]) -> Mapping[tuple[str, str], dict[str, str]]:
    """What is wrong with subscriptions: by connection and state, then by name."""
    found: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    rows = DirectusSubscription.objects.filter(connection__in=list(aliases), enabled=True)
    for row in rows.exclude(last_error="").order_by("name"):
        found[row.connection, row.state][row.name] = row.last_error
    return found


def _living_listeners(limits: Limits) -> list[ListenerProcess]:
    since = timezone.now() - timedelta(seconds=limits.heartbeat_age)
    rows = ListenerProcess.objects.filter(heartbeat_at__gte=since)
    return list(rows.order_by("host", "pid"))


def _listeners(
    alias: str, lease: ListenerLease | None, listeners: Iterable[ListenerProcess]
) -> dict[str, Any]:
    own = [row for row in listeners if alias in row.aliases]
    active = [str(row) for row in own if lease and row.id == lease.holder]
    return {
        "active": active[0] if active else "",
        "fencing_number": lease.token if lease else 0,
        "standing_by": [str(row) for row in own if row.role == ListenerRole.STANDBY],
    }


def aliases_subscribed() -> set[str]:
    """The connections that have a subscription; the activity log of others is not read."""
    rows = DirectusSubscription.objects.filter(enabled=True, state=SubscriptionState.SUBSCRIBED)
    return set(rows.order_by().values_list("connection", flat=True).distinct())


def _catch_up_age(health: ConnectionHealth) -> float:
    """Seconds for which the catch-up has not come through, though it could."""
    catch_up = health.catch_up
    if health.state != "connected" or health.since is None or catch_up is None:
        return 0
    if catch_up.problem or catch_up.caught_up_at is None:
        return 0  # it cannot
    return _age(max(catch_up.caught_up_at, health.since))


def _problems(health: ConnectionHealth, limits: Limits) -> Iterable[str]:
    if health.state != "connected":
        text = _NOT_CONNECTED.get(health.state, f"The connection is {health.state}.")
        yield f"{gettext(text)} {health.reason}".rstrip()
    yield from _late(health, limits)
    dead = health.inbox.counts[InboxState.DEAD]
    if dead > limits.dead:
        text = gettext("Dead letters: %(dead)d; %(most)d are allowed. See the inbox in the admin.")
        yield text % {"dead": dead, "most": limits.dead}
    for name, error in health.refused.items():
        text = gettext("The subscription %(name)s is refused: %(error)s")
        yield text % {"name": name, "error": error}
    for name, error in health.behind.items():
        text = gettext("The subscription %(name)s: %(error)s")
        yield text % {"name": name, "error": error}


def _late(health: ConnectionHealth, limits: Limits) -> Iterable[str]:
    if health.inbox.lag > limits.lag:
        text = gettext(
            "The oldest pending event has waited for %(seconds)s s; %(most)s s are allowed."
        )
        yield text % {"seconds": f"{health.inbox.lag:.0f}", "most": f"{limits.lag:g}"}
    age = _catch_up_age(health)
    if age > limits.catch_up_age and health.alias in aliases_subscribed():
        text = gettext(
            "The activity log was last worked through %(seconds)s s ago; %(most)s s are allowed. "
            "See the log."
        )
        yield text % {"seconds": f"{age:.0f}", "most": f"{limits.catch_up_age:g}"}


def listeners_of_this_host(limits: Limits) -> list[ListenerProcess]:
    """The listeners on this machine that are alive, whatever they do."""
    return [row for row in _living_listeners(limits) if row.host == socket.gethostname()]


def _age(moment: datetime) -> float:
    return (timezone.now() - moment).total_seconds()
