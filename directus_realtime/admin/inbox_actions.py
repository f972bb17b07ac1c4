"""What can be done with events of the inbox, in the list and on the page of one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import gettext, ngettext, ngettext_lazy
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from directus_realtime.admin.base_admin import log_action
from directus_realtime.admin.forms import ReplayForm
from directus_realtime.admin.inbox_change_list import count_up_to
from directus_realtime.admin.replay_request import replay
from directus_realtime.dead_letters import (
    alike,
    error_type,
    is_overtaken,
    mark_handled,
    retry_now,
)
from directus_realtime.models import DirectusSubscription, InboxEvent, InboxState

# Only the stubs know the class as generic.
if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[InboxEvent]
else:
    _Admin = object

_Rows = QuerySet[InboxEvent]
PREFIX = "directus_realtime_inboxevent"
_RETRIED = _("Tried again.")
_HANDLED = _("Marked as handled.")
_MANY = _("So were all the others that were selected in the list.")
_STAYS = _("The dead letter itself stays one, until it is retried or marked as handled.")
#: Before an event came in, its change was made.
_EARLIER = timedelta(minutes=1)


class InboxActions(_Admin):
    """Retry, mark as handled and replay; each is in Django's log."""

    actions = ("retry", "handle")
    change_form_template = "admin/directus_realtime/inboxevent/change_form.html"

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Who may have events delivered again, or put dead letters away."""
        return request.user.has_perm("directus_realtime.retry_inboxevent")

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Who may have changes of the past delivered once more."""
        return request.user.has_perm("directus_realtime.replay_inboxevent")

    # In the list

    @admin.action(description=_("Try the selected dead letters again"), permissions=["retry"])
    def retry(self, request: HttpRequest, queryset: _Rows) -> None:
        """Put dead letters and waiting failures back; only what failed is tried again."""
        self._log_rows(request, queryset, [InboxState.DEAD, InboxState.FAILED], _RETRIED)
        self._tell_retried(request, retry_now(queryset))

    @admin.action(description=_("Mark the selected dead letters as handled"), permissions=["retry"])
    def handle(self, request: HttpRequest, queryset: _Rows) -> None:
        """Put dead letters away."""
        self._log_rows(request, queryset, [InboxState.DEAD], _HANDLED)
        self._tell_handled(request, mark_handled(queryset))

    def _log_rows(
        self, request: HttpRequest, rows: _Rows, states: list[InboxState], what: Any
    ) -> None:
        """One entry for each of a page, and one in all for more than that."""
        meant = rows.filter(state__in=states)
        found = list(meant.order_by("-pk").defer("data_json")[: self.list_per_page + 1])
        if len(found) <= self.list_per_page:
            log_action(request, found, what)
        else:
            log_action(request, found[:1], format_lazy("{} {}", what, _MANY))

    # On the page of an event

    def get_urls(self) -> list[URLPattern]:
        """The pages of the admin, and what the buttons of an event lead to."""
        pages = {
            "retry": require_POST(self.retry_view),
            "retry-alike": self.retry_alike_view,
            "handle": require_POST(self.handle_view),
            "replay": self.replay_view,
        }
        own = [
            path(
                f"<path:object_id>/{name}/",
                self.admin_site.admin_view(view),
                name=f"{PREFIX}_{name.replace('-', '_')}",
            )
            for name, view in pages.items()
        ]
        return [*own, *super().get_urls()]

    def offers(self, request: HttpRequest, row: InboxEvent) -> dict[str, bool]:
        """What this user may do with an event as it stands now, and what to know before."""
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
        }

    def retry_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Try one event again."""
        row = self._row(request, object_id, self.has_retry_permission(request))
        count = retry_now(InboxEvent.objects.filter(pk=row.pk))
        if count:
            log_action(request, [row], _RETRIED)
        self._tell_retried(request, count)
        return self._back(row)

    def handle_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Put one dead letter away."""
        row = self._row(request, object_id, self.has_retry_permission(request))
        count = mark_handled(InboxEvent.objects.filter(pk=row.pk))
        if count:
            log_action(request, [row], _HANDLED)
        self._tell_handled(request, count)
        return self._back(row)

    def retry_alike_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Say which dead letters are like this one, and try them again."""
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
            self._tell_retried(request, count)
            return self._back(row)
        failures = [(name, error_type(f["error"])) for name, f in sorted(row.failures.items())]
        context = self._context(
            request, row, gettext("Try all like this one again"),
            count=count_up_to(rows), failures=failures,
        )  # fmt: skip
        return TemplateResponse(
            request, "admin/directus_realtime/inboxevent/retry_alike.html", context
        )

    # The replay writes by a database connection of its own, which would wait for this one.
    @transaction.non_atomic_requests
    def replay_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask since when, and replay the changes of the event's item."""
        row = self._row(request, object_id, self.has_replay_permission(request))
        subscription = DirectusSubscription.objects.filter(
            name=row.subscription,
            collection=row.collection,
            connection=row.connection,
            enabled=True,
        ).first()
        key = str(row.to_event().key)
        since = timezone.localtime(row.received_at - _EARLIER).replace(microsecond=0)
        form = ReplayForm(request.POST or None, initial={"since": since, "key": key})
        form.fields.pop("key", None)
        if request.method == "POST" and subscription and form.is_valid():
            outcome = replay([subscription], **{**form.cleaned_data, "key": key})
            if outcome.events:
                log_action(request, [row], _("Replayed the changes of the item."))
            count = sum(outcome.events.values())
            self._tell_replayed(request, count, outcome.problems)
            if count and row.state == InboxState.DEAD:
                self.message_user(request, _STAYS, messages.WARNING)
            return self._back(row)
        context = self._context(
            request, row, gettext("Replay the changes of this item"),
            form=form, subscription=subscription, stays=row.state == InboxState.DEAD,
        )  # fmt: skip
        return TemplateResponse(request, "admin/directus_realtime/inboxevent/replay.html", context)

    def _row(self, request: HttpRequest, object_id: str, may: bool) -> InboxEvent:
        """The event, for who may see it and has a right."""
        if not (may and self.has_view_permission(request)):
            raise PermissionDenied
        row: InboxEvent | None = self.get_object(request, object_id)
        if row is None:
            raise Http404
        return row

    def _back(self, row: InboxEvent) -> HttpResponse:
        return HttpResponseRedirect(reverse(f"admin:{PREFIX}_change", args=[row.pk]))

    def _context(
        self, request: HttpRequest, row: InboxEvent, title: str, **values: Any
    ) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": row,
            "title": title,
            **values,
        }

    # What is said

    def _tell_retried(self, request: HttpRequest, count: int) -> None:
        text = ngettext(
            "%(count)d event is tried again.", "%(count)d events are tried again.", count
        )
        self._tell(request, text, count)

    def _tell_handled(self, request: HttpRequest, count: int) -> None:
        text = ngettext(
            "%(count)d dead letter is marked as handled.",
            "%(count)d dead letters are marked as handled.",
            count,
        )
        self._tell(request, text, count)

    def _tell_replayed(self, request: HttpRequest, count: int, problems: list[str]) -> None:
        for problem in problems:
            self.message_user(request, problem, messages.ERROR)
        if not problems:
            text = ngettext(
                "%(count)d event was put into the inbox.",
                "%(count)d events were put into the inbox.",
                count,
            )
            self._tell(request, text, count)

    def _tell(self, request: HttpRequest, text: str, count: int) -> None:
        level = messages.SUCCESS if count else messages.WARNING
        self.message_user(request, text % {"count": count}, level)
