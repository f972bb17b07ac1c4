"""What the pages of the inbox ask for while they are open: how events stand now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.formats import localize
from django.utils.html import conditional_escape
from django.utils.translation import gettext
from django.views.decorators.http import require_GET

from directus_realtime.admin.base_admin import keys_of
from directus_realtime.admin.inbox_actions import PREFIX, InboxActions
from directus_realtime.admin.subscription_status import NO_LISTENER
from directus_realtime.health_facts import OPEN_STATES
from directus_realtime.models import ConnectionStatus, InboxEvent, InboxState

_BUTTONS = "admin/directus_realtime/inboxevent/buttons.html"

#: Rows of a list that are followed at a time.
MOST_ROWS = 100

#: What changes on the page of an event while it is delivered.
_CELLS = (
    "listed_state",
    "attempts",
    "shown_next_attempt",
    "shown_receivers",
    "shown_sent",
    "shown_done",
)


class InboxLive(InboxActions):
    """Has the pages follow the events that are still on their way."""

    #: The cell of the list that changes; a display method of the admin.
    listed_standing: Any

    def get_urls(self) -> list[URLPattern]:
        """The pages of the admin, and what their script asks for."""
        pages: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "live/": ("live", self.rows_view),
            "<path:object_id>/live/": ("live_row", self.row_view),
        }
        own = [
            path(route, self.admin_site.admin_view(require_GET(view)), name=f"{PREFIX}_{name}")
            for route, (name, view) in pages.items()
        ]
        return [*own, *super().get_urls()]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The page of an event, which follows it as long as it is on its way."""
        row = self.get_object(request, object_id)
        found: dict[str, Any] = {}
        if row is not None:
            found = {**self.offers(request, row), "unheard": _unheard(row)}
            if is_open(row):
                found["follow_url"] = reverse(f"admin:{PREFIX}_live_row", args=[row.pk])
                found["follow_state"] = _state(row)
        return super().change_view(request, object_id, form_url, {**found, **(extra_context or {})})

    def rows_view(self, request: HttpRequest) -> HttpResponse:
        """How some events of the list stand now, as the HTML of their cells."""
        self._demand_view(request)
        keys = keys_of(request.GET.get("ids", ""))[:MOST_ROWS]
        rows = self.get_queryset(request).filter(pk__in=keys).defer("data_json")
        return JsonResponse({"rows": {row.pk: str(self.listed_standing(row)) for row in rows}})

    def row_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """How one event stands now: its cells, and what may be done with it."""
        self._demand_view(request)
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404
        context = {**self.offers(request, row), "original": row, "unheard": _unheard(row)}
        return JsonResponse(
            {
                "is_open": is_open(row),
                "state": _state(row),
                "cells": {name: self._cell(name, row) for name in _CELLS},
                "buttons": render_to_string(_BUTTONS, context, request),
            }
        )

    def _cell(self, name: str, row: InboxEvent) -> str:
        shown = getattr(self, name)(row) if hasattr(self, name) else localize(getattr(row, name))
        return conditional_escape(shown)

    def _demand_view(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied


def is_open(row: InboxEvent) -> bool:
    """Whether an event is still on its way; a dead letter goes nowhere by itself."""
    return row.state in OPEN_STATES and row.state != InboxState.DEAD


def _state(row: InboxEvent) -> str:
    """What a screen reader says when the state changes."""
    return gettext("State: %(state)s") % {"state": InboxState(row.state).label}


def _unheard(row: InboxEvent) -> str:
    """Why an event that is on its way gets no further; empty where a listener runs."""
    if not is_open(row):
        return ""
    status = ConnectionStatus.objects.filter(alias=row.connection).first()
    return "" if status is not None and status.has_listener else str(NO_LISTENER)
