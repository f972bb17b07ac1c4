"""Views of the inbox's pages: retry, mark as handled, replay, and live updates."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.formats import localize
from django.utils.html import conditional_escape
from django.utils.text import format_lazy
from django.utils.translation import gettext, ngettext, ngettext_lazy
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST

from directus_realtime.admin.base_admin import ReadOnlyAdmin, log_action, parse_keys, require
from directus_realtime.admin.forms import ReplayForm
from directus_realtime.admin.inbox_change_list import count_up_to
from directus_realtime.admin.replay_request import replay
from directus_realtime.admin.subscription_status import NO_LISTENER
from directus_realtime.dead_letters import alike, error_type, is_overtaken, mark_handled, retry_now
from directus_realtime.health_facts import OPEN_STATES
from directus_realtime.models import (
    ConnectionStatus,
    DirectusSubscription,
    InboxEvent,
    InboxState,
)

_Rows = QuerySet[InboxEvent]
_TEMPLATES = "admin/directus_realtime/inboxevent"
_RETRIED = _("Tried again.")
_HANDLED = _("Marked as handled.")
_MANY = _("So were all the others that were selected in the list.")
_STAYS = _("The dead letter itself stays one, until it is retried or marked as handled.")
#: A change is made before its event is received.
_EARLIER = timedelta(minutes=1)
#: Maximum number of rows of a list that are updated at a time.
MOST_ROWS = 100
#: Fields on the page of an event that change during its delivery.
_LIVE_FIELDS = (
    *("state_column", "attempts", "next_attempt_field"),
    *("receivers_field", "sent_field", "done_field"),
)


class InboxViews(ReadOnlyAdmin):
    """Actions and views of the inbox; each change is in Django's log."""

    actions = ("retry", "handle")
    change_form_template = f"{_TEMPLATES}/change_form.html"

    #: The cell of the list that changes; a display method of the admin.
    status_column: Any

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Whether a user may retry events, or mark dead letters as handled."""
        return request.user.has_perm("directus_realtime.retry_inboxevent")

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Whether a user may replay changes."""
        return request.user.has_perm("directus_realtime.replay_inboxevent")

    # Actions of the list

    @admin.action(description=_("Try the selected dead letters again"), permissions=["retry"])
    def retry(self, request: HttpRequest, queryset: _Rows) -> None:
        """Retry dead letters and failed events; only the receivers that failed are called."""
        self._log_rows(request, queryset, [InboxState.DEAD, InboxState.FAILED], _RETRIED)
        self._report_retried(request, retry_now(queryset))

    @admin.action(description=_("Mark the selected dead letters as handled"), permissions=["retry"])
    def handle(self, request: HttpRequest, queryset: _Rows) -> None:
        """Mark dead letters as handled."""
        self._log_rows(request, queryset, [InboxState.DEAD], _HANDLED)
        count = mark_handled(queryset)
        text = ngettext(
            "%(count)d dead letter is marked as handled.",
            "%(count)d dead letters are marked as handled.",
            count,
        )
        self._report(request, text, count)

    def _log_rows(
        self, request: HttpRequest, rows: _Rows, states: list[InboxState], message: Any
    ) -> None:
        """Log one entry for each of a page, and a single one for more than that."""
        meant = rows.filter(state__in=states)
        found = list(meant.order_by("-pk").defer("data_json")[: self.list_per_page + 1])
        if len(found) <= self.list_per_page:
            log_action(request, found, message)
        else:
            log_action(request, found[:1], format_lazy("{} {}", message, _MANY))

    # Views of an event

    def views(self) -> list[tuple[str, str, Callable[..., HttpResponse]]]:
        """The targets of the buttons, and of the script that updates the pages."""
        row = "<path:object_id>"
        return [
            ("live/", "live", require_GET(self.rows_view)),
            (f"{row}/live/", "live_row", require_GET(self.row_view)),
            (f"{row}/retry/", "retry", require_POST(self.retry_view)),
            (f"{row}/retry-alike/", "retry_alike", self.retry_alike_view),
            (f"{row}/handle/", "handle", require_POST(self.handle_view)),
            (f"{row}/replay/", "replay", self.replay_view),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The page of an event, which is updated until the event is processed."""
        row = self.get_object(request, object_id)
        found: dict[str, Any] = {}
        if row is not None:
            found = self._buttons(request, row)
            if is_open(row):
                found["follow_url"] = self.url("live_row", row.pk)
                found["follow_state"] = _announcement(row)
        return super().change_view(request, object_id, form_url, {**found, **(extra_context or {})})

    def _buttons(self, request: HttpRequest, row: InboxEvent) -> dict[str, Any]:
        """The actions that a user may apply to an event in its state, and the notes on them."""
        may_retry = self.has_retry_permission(request)
        may_replay = self.has_replay_permission(request)
        is_dead = row.state == InboxState.DEAD
        can_retry = may_retry and (is_dead or row.state == InboxState.FAILED)
        return {
            "may_retry": may_retry,
            "can_retry": can_retry,
            "can_retry_alike": may_retry and is_dead,
            "can_handle": may_retry and is_dead,
            "can_replay": may_replay,
            "is_overtaken": can_retry and is_overtaken(row),
            "stays": may_replay and is_dead,
            "unheard": _no_listener(row),
        }

    def rows_view(self, request: HttpRequest) -> HttpResponse:
        """The current cells of some events of the list, as HTML."""
        require(self.has_view_permission(request))
        keys = parse_keys(request.GET.get("ids", ""))[:MOST_ROWS]
        rows = self.get_queryset(request).filter(pk__in=keys).defer("data_json")
        return JsonResponse({"rows": {row.pk: str(self.status_column(row)) for row in rows}})

    def row_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The current fields and buttons of an event, as HTML."""
        row = self._row(request, object_id, True)
        context = {**self._buttons(request, row), "original": row}
        return JsonResponse(
            {
                "is_open": is_open(row),
                "state": _announcement(row),
                "cells": {name: self._cell(name, row) for name in _LIVE_FIELDS},
                "buttons": render_to_string(f"{_TEMPLATES}/buttons.html", context, request),
            }
        )

    def _cell(self, name: str, row: InboxEvent) -> str:
        shown = getattr(self, name)(row) if hasattr(self, name) else localize(getattr(row, name))
        return conditional_escape(shown)

    def retry_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Retry one event."""
        row = self._row(request, object_id, self.has_retry_permission(request))
        self.retry(request, InboxEvent.objects.filter(pk=row.pk))
        return self._back(row)

    def handle_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Mark one dead letter as handled."""
        row = self._row(request, object_id, self.has_retry_permission(request))
        self.handle(request, InboxEvent.objects.filter(pk=row.pk))
        return self._back(row)

    def retry_alike_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for confirmation, and retry all dead letters that failed alike."""
        row = self._row(request, object_id, self.has_retry_permission(request))
        rows = alike(row)
        if request.method == "POST":
            count = retry_now(rows)
            if count:
                text = ngettext_lazy(
                    "Tried again, with all like it ({count} event).",
                    "Tried again, with all like it ({count} events).",
                    count,
                )
                log_action(request, [row], format_lazy(text, count=count))
            self._report_retried(request, count)
            return self._back(row)
        failures = [(name, error_type(f["error"])) for name, f in sorted(row.failures.items())]
        context = self.page_context(
            request, gettext("Try all like this one again"),
            original=row, count=count_up_to(rows), failures=failures,
        )  # fmt: skip
        return TemplateResponse(request, f"{_TEMPLATES}/retry_alike.html", context)

    # The replay writes by a separate database connection, which would wait for this one.
    @transaction.non_atomic_requests
    def replay_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for the begin, and replay the changes of the event's item."""
        row = self._row(request, object_id, self.has_replay_permission(request))
        subscription = (
            DirectusSubscription.objects.followed()
            .filter(name=row.subscription, collection=row.collection, connection=row.connection)
            .first()
        )
        key = str(row.to_event().key)
        since = timezone.localtime(row.received_at - _EARLIER).replace(microsecond=0)
        form = ReplayForm(request.POST or None, initial={"since": since, "key": key})
        form.fields.pop("key", None)
        if request.method == "POST" and subscription and form.is_valid():
            outcome = replay([subscription], **{**form.cleaned_data, "key": key})
            if outcome.events:
                log_action(request, [row], _("Replayed the changes of the item."))
            count = sum(outcome.events.values())
            self._report_replayed(request, count, outcome.problems)
            if count and row.state == InboxState.DEAD:
                self.message_user(request, _STAYS, messages.WARNING)
            return self._back(row)
        context = self.page_context(
            request, gettext("Replay the changes of this item"), original=row,
            form=form, subscription=subscription, stays=row.state == InboxState.DEAD,
        )  # fmt: skip
        return TemplateResponse(request, f"{_TEMPLATES}/replay.html", context)

    def _row(self, request: HttpRequest, object_id: str, allowed: bool) -> InboxEvent:
        """The event, if the user may see it and has a permission."""
        require(allowed and self.has_view_permission(request))
        row: InboxEvent | None = self.get_object(request, object_id)
        if row is None:
            raise Http404
        return row

    def _back(self, row: InboxEvent) -> HttpResponse:
        return HttpResponseRedirect(self.url("change", row.pk))

    # Messages

    def _report_retried(self, request: HttpRequest, count: int) -> None:
        text = ngettext(
            "%(count)d event is tried again.", "%(count)d events are tried again.", count
        )
        self._report(request, text, count)

    def _report_replayed(self, request: HttpRequest, count: int, problems: list[str]) -> None:
        for problem in problems:
            self.message_user(request, problem, messages.ERROR)
        if not problems:
            text = ngettext(
                "%(count)d event was put into the inbox.",
                "%(count)d events were put into the inbox.",
                count,
            )
            self._report(request, text, count)

    def _report(self, request: HttpRequest, text: str, count: int) -> None:
        level = messages.SUCCESS if count else messages.WARNING
        self.message_user(request, text % {"count": count}, level)


def is_open(row: InboxEvent) -> bool:
    """Whether the delivery of an event goes on; a dead letter waits for a person."""
    return row.state in OPEN_STATES and row.state != InboxState.DEAD


def _announcement(row: InboxEvent) -> str:
    """The text that a screen reader says when the state changes."""
    return gettext("State: %(state)s") % {"state": InboxState(row.state).label}


def _no_listener(row: InboxEvent) -> str:
    """A warning if an open event is not delivered because no listener runs."""
    if not is_open(row):
        return ""
    status = ConnectionStatus.objects.filter(alias=row.connection).first()
    return "" if status is not None and status.has_listener else str(NO_LISTENER)
