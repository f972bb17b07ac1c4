"""Facts about the health of the connections, read from the database alone."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.models import Count, Max, Min, Q
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from directus_realtime.database import in_bulk
from directus_realtime.models import (
    ConnectionStatus,
    DirectusSubscription,
    DoorRing,
    InboxEvent,
    InboxState,
    ListenerLease,
    ListenerProcess,
    ListenerRole,
    LogPosition,
    ParkedChange,
    ParkedState,
    SubscriptionState,
)
from directus_realtime.settings import ConnectionSettings, connection_settings

#: States of unfinished events; those of finished ones are most of the table.
OPEN_STATES = (
    InboxState.PENDING,
    InboxState.HELD,
    InboxState.DELIVERING,
    InboxState.FAILED,
    InboxState.DEAD,
)
#: Those of them in which nothing delays delivery.
_DUE_STATES = (InboxState.PENDING, InboxState.DELIVERING)

#: Beginning of the ``last_error`` of a subscription whose changes the activity log does not have.
SOCKET_ONLY = "Socket only: "
#: Ranges of holes and parked changes that are listed.
_LISTED = 20

NO_LISTENER = gettext_noop("No listener is running. Start it: python manage.py directus_listen")


class HealthLevel(models.TextChoices):
    """Overall health of a connection."""

    OK = "ok", _("healthy")
    DEGRADED = "degraded", _("degraded")
    FAILED = "failed", _("failed")


@dataclass(frozen=True)
class HealthThresholds:
    """Limits of what is still healthy.

    Attributes:
        lag: Seconds that the oldest pending event may wait.
        dead: Number of dead letters; many of them are a sign of a broken receiver.
        heartbeat_age: Seconds since the last heartbeat; as long as a takeover may take.
        catch_up_age: Seconds since the activity log was last read to its end, or since the
            connection was made.
    """

    lag: float = 60.0
    dead: int = 100
    heartbeat_age: float = 10.0
    catch_up_age: float = 600.0


@dataclass(frozen=True)
class InboxHealth:
    """Unfinished events of a connection.

    Attributes:
        counts: Events by state; states without any are 0.
        lag: Seconds since the oldest pending event was due, or since the oldest event of a
            worker was enqueued.
    """

    counts: dict[str, int]
    lag: float

    @property
    def dead(self) -> int:
        """Dead letters."""
        return self.counts[InboxState.DEAD]


@dataclass(frozen=True)
class GapHealth:
    """The last gap of a connection.

    Attributes:
        since: Begin.
        until: End; ``None`` while it is open.
        recovered: Whether all of its changes were found; ``None`` while that is unknown.
        reason: Why they were not.
        collections: Collections whose changes may be missing.
        acknowledged_at: When a person acknowledged it.
    """

    since: datetime
    until: datetime | None
    recovered: bool | None
    reason: str
    collections: list[str]
    acknowledged_at: datetime | None

    @property
    def is_unresolved(self) -> bool:
        """Whether changes may be missing, and no person has acknowledged that."""
        return self.recovered is False and self.acknowledged_at is None


@dataclass(frozen=True)
class HoleHealth:
    """Ids of the activity log below its top that are not visible yet.

    Attributes:
        ids: Number of ids.
        ranges: Number of contiguous ranges.
        since: When the oldest range was first seen.
        listed: The first ranges, as pairs of the first and the last id.
    """

    ids: int = 0
    ranges: int = 0
    since: datetime | None = None
    listed: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True)
class DoorHealth:
    """The door of a connection.

    Attributes:
        problem: Why it does not announce changes; empty where it does.
        rings: Number of knocks so far.
        rung_at: When it last rang; ``None`` for never.
        collection: Collection that the last knock named.
    """

    problem: str
    rings: int = 0
    rung_at: datetime | None = None
    collection: str = ""


@dataclass
class ConnectionHealth:
    """Health of one connection.

    Attributes:
        level: The worst level of its problems.
        state: The current state: ``disconnected`` where no listener runs.
        reason: Why, as a sentence.
        since: Start of the state; ``None`` where no listener ever ran.
        socket_problem: Why the WebSocket does not announce changes; empty where it does.
        door: The door; ``None`` where the connection has none.
        doorbells: What announces changes at present: ``socket``, ``door``, or neither.
        heartbeat_age: Seconds since the last heartbeat of its listener.
        active: ``HOST:PID`` of the active listener, or ``""``.
        fencing_token: Fencing token of its lease.
        standing_by: ``HOST:PID`` of the standbys.
        standby_problems: Why a standby could not log in, by ``HOST:PID``.
        subscribed: Number of enabled subscriptions that are confirmed.
        refused: Reasons of Directus, by refused subscription.
        behind: Reasons, by subscription that is not caught up.
        socket_only: Reasons, by subscription whose changes are not in the log.
        orphaned: Names of the subscriptions that are no longer declared, and not followed.
        catch_up: Position in the activity log; ``None`` before the first read.
        gap: The last gap.
        holes: Ids of the log that are not visible yet.
        dropped: Number of ids of the log that never became visible.
        parked: Number of logged changes whose item was not found, and whose delete may appear.
        unexplained: Number of those whose delete did not appear in time.
        unexplained_since: When the oldest of those was parked.
        problems: Sentences with a problem and its remedy each.
        notes: Sentences about facts that are no problem.
    """

    alias: str
    state: str
    reason: str
    since: datetime | None
    socket_problem: str
    door: DoorHealth | None
    doorbells: list[str]
    heartbeat_age: float | None
    last_event_at: datetime | None
    inbox: InboxHealth
    catch_up: LogPosition | None
    active: str
    fencing_token: int
    standing_by: list[str]
    standby_problems: dict[str, str]
    subscribed: int
    refused: dict[str, str]
    behind: dict[str, str]
    socket_only: dict[str, str]
    orphaned: list[str]
    gap: GapHealth | None
    holes: HoleHealth
    dropped: int
    parked: int
    unexplained: int
    unexplained_since: datetime | None
    level: HealthLevel = HealthLevel.OK
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_facts(aliases: Sequence[str], limits: HealthThresholds) -> list[ConnectionHealth]:
    """Return the facts about connections, without levels and problems."""
    statuses = in_bulk(ConnectionStatus.objects.all(), aliases)
    positions = in_bulk(LogPosition.objects.all(), aliases)
    with_door = [alias for alias in aliases if settings_of(alias).door_secret]
    doors = in_bulk(DoorRing.objects.all(), with_door) if with_door else {}
    leases = in_bulk(ListenerLease.objects.all(), aliases)
    inboxes = inbox_health(aliases)
    subscriptions = _subscriptions(aliases)
    listeners = _living_listeners(limits)
    parked = _parked(aliases)
    return [
        ConnectionHealth(
            alias=alias,
            **(state := _state(statuses.get(alias), limits)),
            **_doorbells(state, _door(alias, statuses, doors)),
            inbox=inboxes[alias],
            **_log(positions.get(alias)),
            **_listeners(alias, leases.get(alias), listeners),
            **subscriptions[alias],
            **parked[alias],
        )
        for alias in aliases
    ]


def inbox_health(aliases: Iterable[str]) -> dict[str, InboxHealth]:
    """Return the unfinished events, by connection; other rows are not read."""
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
                since = group["late_at"] - timedelta(seconds=settings_of(alias).task_timeout)
            lags[alias] = max(lags[alias], (now - since).total_seconds())
    return {alias: InboxHealth(counts[alias], lags[alias]) for alias in counts}


def settings_of(alias: str) -> ConnectionSettings:
    """Return the settings of a connection; the defaults where they are wrong."""
    try:
        return connection_settings(alias)
    except ImproperlyConfigured:
        return ConnectionSettings(alias, "")


def _state(status: ConnectionStatus | None, limits: HealthThresholds) -> dict[str, Any]:
    age = age_of(status.heartbeat_at) if status else None
    if status is None or age is None or age > limits.heartbeat_age:
        return {
            "state": "disconnected",
            "reason": gettext(NO_LISTENER),
            "since": status.heartbeat_at if status else None,
            "heartbeat_age": age,
            "socket_problem": "",
        }
    return {
        "state": status.state,
        "reason": status.reason,
        "since": status.changed_at,
        "heartbeat_age": age,
        "socket_problem": status.socket_problem,
    }


def _door(
    alias: str, statuses: Mapping[str, ConnectionStatus], doors: Mapping[str, DoorRing]
) -> DoorHealth | None:
    if not settings_of(alias).door_secret:
        return None
    status, ring = statuses.get(alias), doors.get(alias)
    problem = status.door_problem if status else ""
    if ring is None:
        return DoorHealth(problem)
    return DoorHealth(problem, ring.rings, ring.rung_at, ring.collection)


def _doorbells(state: Mapping[str, Any], door: DoorHealth | None) -> dict[str, Any]:
    is_connected = state["state"] == "connected"
    bells = {
        "socket": is_connected and not state["socket_problem"],
        "door": is_connected and door is not None and not door.problem,
    }
    return {"door": door, "doorbells": [name for name, rings in bells.items() if rings]}


def _log(position: LogPosition | None) -> dict[str, Any]:
    if position is None:
        return {"catch_up": None, "gap": None, "holes": HoleHealth(), "dropped": 0}
    return {
        "catch_up": position,
        "gap": _gap(position),
        "holes": _holes(position.holes),
        "dropped": position.dropped,
    }


def _gap(position: LogPosition) -> GapHealth | None:
    if position.gap_since is None:
        return None
    return GapHealth(
        since=position.gap_since,
        until=position.gap_until,
        recovered=position.gap_recovered,
        reason=position.gap_reason,
        collections=list(position.gap_collections),
        acknowledged_at=position.gap_acknowledged_at,
    )


def _holes(ranges: Sequence[Sequence[float]]) -> HoleHealth:
    if not ranges:
        return HoleHealth()
    spans = [(int(first), int(last)) for first, last, _seen in ranges]
    return HoleHealth(
        ids=sum(last - first + 1 for first, last in spans),
        ranges=len(spans),
        since=datetime.fromtimestamp(min(seen for _first, _last, seen in ranges), UTC),
        listed=spans[:_LISTED],
    )


def _subscriptions(aliases: Iterable[str]) -> Mapping[str, dict[str, Any]]:
    """Return the state of subscriptions, by connection."""
    found: dict[str, dict[str, Any]] = {
        alias: {"subscribed": 0, "last_event_at": None, "orphaned": []}
        | {kind: {} for kind in ("refused", "behind", "socket_only")}
        for alias in aliases
    }
    rows = DirectusSubscription.objects.filter(connection__in=list(found)).order_by()
    for alias, name in (
        rows.exclude(orphaned_at=None).order_by("name").values_list("connection", "name")
    ):
        found[alias]["orphaned"].append(name)
    rows = rows.filter(orphaned_at=None)
    of_connections = rows.values("connection").annotate(
        last=Max("last_event_at"),
        subscribed=Count("pk", filter=Q(enabled=True, state=SubscriptionState.SUBSCRIBED)),
    )
    for row in of_connections:
        found[row["connection"]] |= {"last_event_at": row["last"], "subscribed": row["subscribed"]}
    states = [SubscriptionState.REFUSED, SubscriptionState.SUBSCRIBED]
    for each in rows.filter(enabled=True, state__in=states).exclude(last_error="").order_by("name"):
        if each.state == SubscriptionState.REFUSED:
            kind = "refused"
        else:
            kind = "socket_only" if each.last_error.startswith(SOCKET_ONLY) else "behind"
        found[each.connection][kind][each.name] = each.last_error
    return found


def _parked(aliases: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the logged changes whose item was not found, by connection."""
    found: dict[str, dict[str, Any]] = {
        alias: {"parked": 0, "unexplained": 0, "unexplained_since": None} for alias in aliases
    }
    rows = ParkedChange.objects.filter(connection__in=list(found)).order_by()
    groups = rows.values("connection", "state").annotate(count=Count("pk"), since=Min("parked_at"))
    for group in groups:
        each = found[group["connection"]]
        each[group["state"]] = group["count"]
        if group["state"] == ParkedState.UNEXPLAINED:
            each["unexplained_since"] = group["since"]
    return found


def parked_changes(
    alias: str, limit: int = _LISTED, state: ParkedState | None = None
) -> list[dict[str, Any]]:
    """Return the oldest parked and unexplained changes of a connection, the latter first.

    Args:
        alias: Alias of the connection.
        limit: Most changes.
        state: Only changes in this state; ``None`` for both.
    """
    rows = ParkedChange.objects.filter(connection=alias).select_related("subscription")
    if state is not None:
        rows = rows.filter(state=state)
    return [
        {
            "state": row.state,
            "subscription": row.subscription.name,
            "activity_id": row.activity_id,
            "collection": row.collection,
            "key": json.loads(row.key_json),
            "action": row.action,
            "changed_at": row.changed_at,
            "parked_at": row.parked_at,
            "reason": row.reason,
        }
        for row in rows.order_by("-state", "parked_at", "pk")[:limit]
    ]


def _living_listeners(limits: HealthThresholds) -> list[ListenerProcess]:
    since = timezone.now() - timedelta(seconds=limits.heartbeat_age)
    rows = ListenerProcess.objects.filter(heartbeat_at__gte=since)
    return list(rows.order_by("host", "pid"))


def _listeners(
    alias: str, lease: ListenerLease | None, listeners: Iterable[ListenerProcess]
) -> dict[str, Any]:
    own = [row for row in listeners if alias in row.aliases]
    active = [str(row) for row in own if lease and row.id == lease.holder]
    standing_by = [row for row in own if row.role == ListenerRole.STANDBY]
    return {
        "active": active[0] if active else "",
        "fencing_token": lease.token if lease else 0,
        "standing_by": [str(row) for row in standing_by],
        "standby_problems": {
            str(row): row.problems[alias] for row in standing_by if row.problems.get(alias)
        },
    }


def listeners_of_this_host(limits: HealthThresholds) -> list[ListenerProcess]:
    """Return the living listeners of this machine, active or not."""
    return [row for row in _living_listeners(limits) if row.host == socket.gethostname()]


def age_of(moment: datetime) -> float:
    """Return the seconds since a moment."""
    return (timezone.now() - moment).total_seconds()
