"""The page “Directus live”: the state of the connections, and events as they arrive."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q, Sum
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, get_script_prefix, path, reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.http import urlencode
from django.utils.translation import gettext, ngettext

from directus_realtime.admin import connection_display as texts
from directus_realtime.admin.base_admin import ReadOnlyAdmin, studio_url, to_the_second
from directus_realtime.admin.inbox_admin import indented
from directus_realtime.admin.inbox_change_list import LOOKED_THROUGH
from directus_realtime.admin.inbox_filters import ACTION_LABELS, ORIGIN_LABELS
from directus_realtime.gateway.live_consumer import MAY_WATCH, LiveConsumer, summary
from directus_realtime.health import gather
from directus_realtime.health_facts import ConnectionHealth, HealthThresholds
from directus_realtime.models import (
    ConnectionStatus,
    DirectusSubscription,
    EventCount,
    InboxEvent,
    InboxState,
    Live,
)
from directus_realtime.settings import aliases

#: Events of the first look, and of one that asks what is new.
FIRST, MOST = 50, 200
#: Rows can be committed in another order than that of their ids: so far is looked back, for
#: those that came in within so many seconds.
_OVERLAP, _LATE = 500, 15


def newest_events(after: int | None, collection: str) -> dict[str, Any]:
    """What is new, the oldest first.

    Args:
        after: Id of the newest row that the page has; ``None`` for the first look.
        collection: Of this one only; empty for all.

    Returns:
        ``events``; ``after`` for the next look; ``left_out``, whether there were more.
    """
    rows = InboxEvent.objects.defer("data_json", "failures", "delivered").order_by("-pk")
    newest = rows.values_list("pk", flat=True).first() or 0
    if after is None:
        new, most = rows.filter(pk__gt=newest - LOOKED_THROUGH), FIRST
    else:
        after = max(after, newest - LOOKED_THROUGH)
        is_late = Q(received_at__gt=timezone.now() - timedelta(seconds=_LATE))
        # The first bound is for the database, which else looks through the whole table.
        new = rows.filter(pk__gt=after - _OVERLAP).filter(Q(pk__gt=after) | is_late)
        most = MOST
    if collection:
        new = new.filter(collection=collection)
    found = list(new[: most + 1])
    shown = found[:most][::-1]
    return {
        "events": [_summary(row) for row in shown],
        "after": max(newest, found[0].pk if found else 0),
        "left_out": after is not None and len(found) > most,
    }


def _summary(row: InboxEvent) -> dict[str, Any]:
    try:
        key = row.key
    except ValueError:
        key = row.key_json
    return summary(
        id=str(row.event_id),
        received_at=row.received_at,
        subscription=row.subscription,
        collection=row.collection,
        action=row.action,
        key=key,
        origin=row.origin,
    )


#: Minutes of the plot; its height, and the width of a minute.
MINUTES, HEIGHT, STEP = 60, 40, 5


def connection_states(aliases: Sequence[str]) -> list[dict[str, Any]]:
    """How connections stand, as texts in the language at hand."""
    now = timezone.now()
    statuses = ConnectionStatus.objects.in_bulk(aliases)
    recent = _counts(now, minutes=2)
    return [
        _texts(health, statuses.get(health.alias), recent.get(health.alias, {}), now)
        for health in gather(aliases, HealthThresholds())
    ]


def _texts(
    health: ConnectionHealth,
    status: ConnectionStatus | None,
    counts: dict[datetime, int],
    now: datetime,
) -> dict[str, Any]:
    dead = health.inbox.counts[InboxState.DEAD]
    return {
        "alias": health.alias,
        "state": health.state,
        "level": health.level.value,
        "dead": dead,
        "texts": {
            "state": texts.state_label(health.state),
            "since": to_the_second(health.since) if health.since else "–",
            "level": str(health.level.label),
            "reason": texts.attention_of(health),
            "notes": texts.notes_of(health),
            "socket": texts.socket_of(health),
            "server": _server(status),
            "identity": (status and status.identity) or "–",
            "lag": texts.lag_of(health),
            "rate": _rate(counts, now),
            "last_event": to_the_second(health.last_event_at) if health.last_event_at else "–",
            "inbox": texts.counts_of(health),
            "caught_up": texts.caught_up_of(health),
            "rows": texts.rows_of(health),
            "problem": texts.problem_of(health),
            "holes": texts.holes_of(health),
            "parked": texts.parked_of(health),
            "dropped": texts.dropped_of(health),
            "gap": texts.gap_of(health),
            "active": texts.active_of(health),
            "standing_by": texts.standing_by_of(health),
            "dead": ngettext("%(count)d dead letter", "%(count)d dead letters", dead)
            % {"count": dead},
        },
    }


def dead_letters_url(alias: str) -> str:
    """The dead letters of a connection, in the inbox."""
    which = {"state__exact": InboxState.DEAD.value, "connection__exact": alias}
    return f"{reverse('admin:directus_realtime_inboxevent_changelist')}?{urlencode(which)}"


def _server(status: ConnectionStatus | None) -> str:
    if status is None or not status.url:
        return "–"
    return f"{status.url} (Directus {status.version})" if status.version else status.url


def _rate(counts: dict[datetime, int], now: datetime) -> str:
    """Events of the last 60 seconds: those of this minute, and a part of the minute before."""
    minute = _minute(now)
    before = counts.get(minute - timedelta(minutes=1), 0)
    share = 1 - (now - minute).total_seconds() / 60
    rate = round(counts.get(minute, 0) + before * share)
    text = ngettext("%(rate)s event per minute", "%(rate)s events per minute", rate)
    return text % {"rate": number_format(rate, force_grouping=True)}


def hour_plots(aliases: Sequence[str]) -> dict[str, dict[str, str]]:
    """The last hour of each connection: the path of its plot, and what it shows in words."""
    now = timezone.now()
    found = _counts(now, MINUTES)
    minutes = [_minute(now) - timedelta(minutes=ago) for ago in range(MINUTES - 1, -1, -1)]
    plots = {}
    for alias in aliases:
        bars = [found.get(alias, {}).get(minute, 0) for minute in minutes]
        plots[alias] = {"path": _path(bars), "text": _words(bars)}
    return plots


def _path(bars: Sequence[int]) -> str:
    """Bars as the path of an SVG; a minute with any events at all is seen."""
    most = max(bars)
    return "".join(
        f"M{number * STEP} {HEIGHT}v-{max(round(count / most * HEIGHT, 1), 1.5):g}"
        f"h{STEP - 1}V{HEIGHT}z"
        for number, count in enumerate(bars)
        if count
    )


def _words(bars: Sequence[int]) -> str:
    total = sum(bars)
    text = ngettext(
        "%(total)s event in the last hour, at most %(most)s in a minute",
        "%(total)s events in the last hour, at most %(most)s in a minute",
        total,
    )
    shown = (number_format(number, force_grouping=True) for number in (total, max(bars)))
    return text % dict(zip(("total", "most"), shown, strict=True))


def _counts(now: datetime, minutes: int) -> dict[str, dict[datetime, int]]:
    """Events of the last minutes, by connection and minute."""
    since = _minute(now) - timedelta(minutes=minutes - 1)
    rows = EventCount.objects.filter(minute__gte=since).order_by()
    sums = rows.values_list("connection", "minute").annotate(sum=Sum("events"))
    found: dict[str, dict[datetime, int]] = {}
    for alias, minute, count in sums:
        found.setdefault(alias, {})[minute] = count
    return found


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


_PREFIX = "directus_realtime_live"


@admin.register(Live)
class LiveAdmin(ReadOnlyAdmin):
    """One page instead of a list; it has no pages of single rows."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may see the connections and the inbox."""
        return request.user.has_perms(MAY_WATCH)

    def get_urls(self) -> list[URLPattern]:
        """The page, and what its script asks for."""
        pages: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "": ("changelist", self.changelist_view),
            "state/": ("state", self.state_view),
            "events/": ("events", self.events_view),
            "events/<uuid:event_id>/": ("event", self.event_view),
        }
        return [
            path(route, self.admin_site.admin_view(view), name=f"{_PREFIX}_{name}")
            for route, (name, view) in pages.items()
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page."""
        self._check(request)
        plots = hour_plots(aliases())
        connections = [
            {**state, "plot": plots[state["alias"]], "dead_url": dead_letters_url(state["alias"])}
            for state in connection_states(aliases())
        ]
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": gettext("Directus live"),
            "connections": connections,
            "collections": _collections(),
            "plot": {"width": MINUTES * STEP, "height": HEIGHT},
            "page_config": self._config(),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/directus_realtime/live.html", context)

    def state_view(self, request: HttpRequest) -> HttpResponse:
        """How the connections stand; with ``plots`` in the query, also their last hour."""
        self._check(request)
        found: dict[str, Any] = {"connections": connection_states(aliases())}
        if "plots" in request.GET:
            found["plots"] = hour_plots(aliases())
        return _json(found)

    def events_view(self, request: HttpRequest) -> HttpResponse:
        """What is new in the inbox since the row ``after``."""
        self._check(request)
        after = request.GET.get("after", "")
        number = int(after) if after.isdecimal() and len(after) < 19 else None
        return _json(newest_events(number, request.GET.get("collection", "")))

    def event_view(self, request: HttpRequest, event_id: uuid.UUID) -> HttpResponse:
        """The payload of one event, and where there is more of it."""
        self._check(request)
        row = InboxEvent.objects.filter(event_id=event_id).first()
        if row is None:
            raise Http404
        return _json(
            {
                "data": indented(row.data_json) if row.data_json else gettext("No data."),
                "url": reverse("admin:directus_realtime_inboxevent_change", args=[row.pk]),
                "studio_url": studio_url(row),
            }
        )

    def _check(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def _config(self) -> dict[str, Any]:
        """What the script needs to know: addresses and words."""
        socket, reason = _socket()
        return {
            "socket": socket,
            "state": reverse(f"admin:{_PREFIX}_state"),
            "events": reverse(f"admin:{_PREFIX}_events"),
            "event": reverse(f"admin:{_PREFIX}_event", args=[uuid.UUID(int=0)]),
            "actions": {name: str(label) for name, label in ACTION_LABELS.items()},
            "origins": {name: str(label) for name, label in ORIGIN_LABELS.items()},
            "words": {
                "live": gettext("Events are shown as they are delivered, through Channels."),
                "polled": gettext("Events are looked for every 2 seconds.") + f" {reason}",
                "socket_lost": gettext(
                    "The WebSocket is not connected; events are looked for every 2 seconds."
                ),
                "away": gettext("The server does not answer. This page tries again."),
                "ended": gettext("You are not logged in any more. Reload this page."),
                "pause": gettext("Pause"),
                "resume": gettext("Resume"),
                "waiting": gettext("Resume (new events: {count})"),
                "new": gettext("New events: {count}. The last: {event}"),
                "left_out": gettext(
                    "More events came in than are shown here; the inbox has them all."
                ),
                "empty": gettext("No events yet."),
                "loading": gettext("Loading…"),
                "failed": gettext("The payload cannot be loaded."),
                "inbox": gettext("Open in the inbox"),
                "studio": gettext("Open in Directus"),
                "connection": gettext("Connection {alias}: {state}"),
            },
        }


def _socket() -> tuple[str, str]:
    """The path of the WebSocket; empty with the reason where there is none to be tried.

    It is only tried where this process has its route: elsewhere each try would be an error
    in the log of the server.
    """
    layer = get_channel_layer()
    if layer is None:
        return "", gettext("There is no channel layer.")
    if type(layer) is InMemoryChannelLayer:
        return "", gettext("The channel layer does not reach from one process to another.")
    if LiveConsumer.mounted_at is None:
        return "", gettext("The gateway is not mounted in asgi.py.")
    return f"{get_script_prefix()}{LiveConsumer.mounted_at}", ""


def _collections() -> list[str]:
    names = DirectusSubscription.objects.order_by("collection").distinct()
    return list(names.values_list("collection", flat=True))


def _json(found: dict[str, Any]) -> JsonResponse:
    response = JsonResponse(found)
    response.headers["Cache-Control"] = "no-store"
    return response
