"""The page “Directus live”: how the connections stand, and events as they arrive."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, get_script_prefix, path, reverse
from django.utils.translation import gettext

from directus_realtime.admin.inbox import indented
from directus_realtime.admin.inbox_filters import ACTION_LABELS, ORIGIN_LABELS
from directus_realtime.admin.live_events import newest_events
from directus_realtime.admin.live_state import (
    HEIGHT,
    MINUTES,
    STEP,
    connection_states,
    dead_letters_url,
    hour_plots,
)
from directus_realtime.admin.shared import ReadOnlyAdmin
from directus_realtime.admin.studio import studio_url
from directus_realtime.gateway.live_feed import MAY_WATCH, LiveConsumer
from directus_realtime.models import DirectusSubscription, InboxEvent, Live
from directus_realtime.settings import aliases

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
