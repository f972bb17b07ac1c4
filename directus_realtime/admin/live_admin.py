"""The page “Directus live”: the state of the connections, and events as they arrive."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.contrib import admin
from django.db.models import Q, Sum
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, get_script_prefix, reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext, ngettext

from directus_realtime.admin import connection_display as texts
from directus_realtime.admin.base_admin import (
    ACTION_LABELS,
    ORIGIN_LABELS,
    ReadOnlyAdmin,
    data_studio_url,
    list_url,
    require,
    to_the_second,
)
from directus_realtime.admin.inbox_admin import indented
from directus_realtime.admin.inbox_change_list import SEARCHED, subscribed_collections
from directus_realtime.gateway.live_consumer import MAY_WATCH, LiveConsumer, summary
from directus_realtime.health import gather
from directus_realtime.health_facts import ConnectionHealth, HealthThresholds
from directus_realtime.models import ConnectionStatus, EventCount, InboxEvent, InboxState, Live
from directus_realtime.settings import aliases

#: Maximum number of events of the first poll, and of a later one.
FIRST, MOST = 50, 200
#: Rows can be committed in another order than that of their ids: ids below the last one that are
#: read again, and seconds since a row of them was received.
_OVERLAP, _LATE = 500, 15


def newest_events(after: int | None, collection: str) -> dict[str, Any]:
    """Return the new events, the oldest first.

    Args:
        after: Id of the newest row that the page has; ``None`` for the first poll.
        collection: Name of a collection; empty for all.

    Returns:
        ``events``; ``after`` for the next poll; ``left_out``, whether there were more.
    """
    rows = InboxEvent.objects.defer("data_json", "failures", "delivered").order_by("-pk")
    newest = rows.values_list("pk", flat=True).first() or 0
    if after is None:
        new, most = rows.filter(pk__gt=newest - SEARCHED), FIRST
    else:
        after = max(after, newest - SEARCHED)
        is_late = Q(received_at__gt=timezone.now() - timedelta(seconds=_LATE))
        # The first bound keeps the database from reading the whole table.
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


#: Minutes of the plot; its height, and the width of a minute, in units of the SVG.
MINUTES, HEIGHT, STEP = 60, 40, 5


def connection_states(aliases: Sequence[str]) -> list[dict[str, Any]]:
    """Return the states of connections, as texts in the active language."""
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
            "reason": texts.attention(health),
            "notes": texts.notes(health),
            "socket": texts.socket(health),
            "server": _server(status),
            "identity": (status and status.identity) or "–",
            "lag": texts.lag(health),
            "rate": _rate(counts, now),
            "last_event": to_the_second(health.last_event_at) if health.last_event_at else "–",
            "inbox": texts.counts(health),
            "caught_up": texts.caught_up(health),
            "rows": texts.rows(health),
            "problem": texts.problem(health),
            "holes": texts.holes(health),
            "parked": texts.parked(health),
            "dropped": texts.dropped(health),
            "gap": texts.gap(health),
            "active": texts.active(health),
            "standing_by": texts.standing_by(health),
            "dead": ngettext("%(count)d dead letter", "%(count)d dead letters", dead)
            % {"count": dead},
        },
    }


def _server(status: ConnectionStatus | None) -> str:
    if status is None or not status.url:
        return "–"
    return f"{status.url} (Directus {status.version})" if status.version else status.url


def _rate(counts: dict[datetime, int], now: datetime) -> str:
    """Events of the last 60 seconds: those of this minute, and a share of the minute before."""
    minute = _minute(now)
    before = counts.get(minute - timedelta(minutes=1), 0)
    share = 1 - (now - minute).total_seconds() / 60
    rate = round(counts.get(minute, 0) + before * share)
    text = ngettext("%(rate)s event per minute", "%(rate)s events per minute", rate)
    return text % {"rate": number_format(rate, force_grouping=True)}


def hour_plots(aliases: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the last hour of each connection: the path of its plot, and a text for it."""
    now = timezone.now()
    found = _counts(now, MINUTES)
    minutes = [_minute(now) - timedelta(minutes=ago) for ago in range(MINUTES - 1, -1, -1)]
    plots = {}
    for alias in aliases:
        bars = [found.get(alias, {}).get(minute, 0) for minute in minutes]
        plots[alias] = {"path": _svg_path(bars), "text": _plot_text(bars)}
    return plots


def _svg_path(bars: Sequence[int]) -> str:
    """Bars as the path of an SVG; a minute with any events is visible."""
    most = max(bars)
    return "".join(
        f"M{number * STEP} {HEIGHT}v-{max(round(count / most * HEIGHT, 1), 1.5):g}"
        f"h{STEP - 1}V{HEIGHT}z"
        for number, count in enumerate(bars)
        if count
    )


def _plot_text(bars: Sequence[int]) -> str:
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


@admin.register(Live)
class LiveAdmin(ReadOnlyAdmin):
    """One page instead of a list; it has no pages of single rows."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether a user may see the connections and the inbox."""
        return request.user.has_perms(MAY_WATCH)

    def views(self) -> list[tuple[str, str, Callable[..., HttpResponse]]]:
        """The page, and the data for its script."""
        return [
            ("", "changelist", self.changelist_view),
            ("state/", "state", self.state_view),
            ("events/", "events", self.events_view),
            ("events/<uuid:event_id>/", "event", self.event_view),
        ]

    def get_urls(self) -> list[URLPattern]:
        """The own views alone."""
        return self.own_urls()

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page."""
        require(self.has_view_permission(request))
        plots = hour_plots(aliases())
        connections = connection_states(aliases())
        for each in connections:
            alias = each["alias"]
            dead = {"state__exact": InboxState.DEAD.value, "connection__exact": alias}
            each |= {"plot": plots[alias], "dead_url": list_url("inboxevent", **dead)}
        context = self.page_context(
            request,
            gettext("Directus live"),
            connections=connections,
            collections=subscribed_collections(),
            plot={"width": MINUTES * STEP, "height": HEIGHT},
            page_config=self._config(),
            **(extra_context or {}),
        )
        return TemplateResponse(request, "admin/directus_realtime/live.html", context)

    def state_view(self, request: HttpRequest) -> HttpResponse:
        """The states of the connections; with ``plots`` in the query, also their last hour."""
        require(self.has_view_permission(request))
        found: dict[str, Any] = {"connections": connection_states(aliases())}
        if "plots" in request.GET:
            found["plots"] = hour_plots(aliases())
        return _json(found)

    def events_view(self, request: HttpRequest) -> HttpResponse:
        """The new events of the inbox since the row ``after``."""
        require(self.has_view_permission(request))
        after = request.GET.get("after", "")
        number = int(after) if after.isdecimal() and len(after) < 19 else None
        return _json(newest_events(number, request.GET.get("collection", "")))

    def event_view(self, request: HttpRequest, event_id: uuid.UUID) -> HttpResponse:
        """The payload of one event, with links to its page and item."""
        require(self.has_view_permission(request))
        row = InboxEvent.objects.filter(event_id=event_id).first()
        if row is None:
            raise Http404
        return _json(
            {
                "data": indented(row.data_json) if row.data_json else gettext("No data."),
                "url": reverse("admin:directus_realtime_inboxevent_change", args=[row.pk]),
                "studio_url": data_studio_url(row),
            }
        )

    def _config(self) -> dict[str, Any]:
        """Addresses and texts for the script."""
        socket, reason = _socket()
        return {
            "socket": socket,
            "state": self.url("state"),
            "events": self.url("events"),
            "event": self.url("event", uuid.UUID(int=0)),
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
    """Return the path of the WebSocket; or an empty one, with the reason.

    Without a route in this process, each connection would be an error in the server's log.
    """
    layer = get_channel_layer()
    if layer is None:
        return "", gettext("There is no channel layer.")
    if type(layer) is InMemoryChannelLayer:
        return "", gettext("The channel layer does not reach from one process to another.")
    if LiveConsumer.mounted_at is None:
        return "", gettext("The gateway is not mounted in asgi.py.")
    return f"{get_script_prefix()}{LiveConsumer.mounted_at}", ""


def _json(found: dict[str, Any]) -> JsonResponse:
    response = JsonResponse(found)
    response.headers["Cache-Control"] = "no-store"
    return response
