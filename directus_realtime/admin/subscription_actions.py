"""Actions on subscriptions selected in the list, and the page of a replay."""

from __future__ import annotations

import itertools
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.text import format_lazy
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from directus_realtime.admin.base_admin import (
    DirectusAdmin,
    log_action,
    parse_keys,
    require,
    to_the_second,
)
from directus_realtime.admin.forms import ReplayForm
from directus_realtime.admin.replay_request import Outcome, replay
from directus_realtime.listener.desired_subscriptions import DesiredSubscription, query_problem
from directus_realtime.listener.diagnostics import (
    ConnectionReport,
    SubscriptionReport,
    check_connection,
)
from directus_realtime.loads import request_load
from directus_realtime.models import BrowserAccess, DirectusSubscription
from directus_realtime.settings import connection_settings

_Rows = QuerySet[DirectusSubscription]
#: Maximum number of subscriptions of a test; each one takes requests to Directus.
MOST_TESTED = 50


class SubscriptionActions(DirectusAdmin):
    """The actions of the list, and the page of a replay; each change is in Django's log."""

    # Enable and disable

    @admin.action(description=_("Enable the selected subscriptions"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: _Rows) -> None:
        """Enable subscriptions."""
        self._switch(request, queryset, True)

    @admin.action(description=_("Disable the selected subscriptions"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: _Rows) -> None:
        """Disable subscriptions."""
        self._switch(request, queryset, False)

    def _switch(self, request: HttpRequest, queryset: _Rows, enabled: bool) -> None:
        own = queryset.filter(declared_in="")
        changed = list(own.exclude(enabled=enabled))
        # The listener compares all rows with what is active, so update() is enough.
        count = own.update(enabled=enabled)
        if enabled:
            log_action(request, changed, _("Enabled."))
            text = ngettext(
                "%(count)d subscription is enabled.", "%(count)d subscriptions are enabled.", count
            )
        else:
            log_action(request, changed, _("Disabled."))
            text = ngettext(
                "%(count)d subscription is disabled.",
                "%(count)d subscriptions are disabled.",
                count,
            )
        self.message_user(request, text % {"count": count}, messages.SUCCESS)
        if skipped := queryset.exclude(declared_in="").count():
            text = ngettext(
                "%(count)d subscription is declared in code and was left as it is.",
                "%(count)d subscriptions are declared in code and were left as they are.",
                skipped,
            )
            self.message_user(request, text % {"count": skipped}, messages.WARNING)

    # Test

    @admin.action(description=_("Test the selected subscriptions"), permissions=["view"])
    def test(self, request: HttpRequest, queryset: _Rows) -> HttpResponse | None:
        """Try each in Directus, as ``directus_check`` does, and show the results."""
        rows = list(queryset.order_by("connection", "name")[: MOST_TESTED + 1])
        if len(rows) > MOST_TESTED:
            text = _("Select %(most)d subscriptions at the most, or run directus_check.")
            self.message_user(request, text % {"most": MOST_TESTED}, messages.ERROR)
            return None
        reports = [_report(alias, rows) for alias in dict.fromkeys(r.connection for r in rows)]
        context = self.page_context(request, gettext("Test of subscriptions"), reports=reports)
        return TemplateResponse(request, "admin/directus_realtime/subscription_test.html", context)

    # Load a snapshot

    @admin.action(
        description=_("Load all items of the selected subscriptions"), permissions=["change"]
    )
    def load(self, request: HttpRequest, queryset: _Rows) -> None:
        """Request a load: all matching items are delivered again, and deletes of those gone."""
        rows = list(queryset.filter(enabled=True, orphaned_at=None))
        request_load(DirectusSubscription.objects.filter(pk__in=[row.pk for row in rows]))
        log_action(request, rows, _("Asked for a load of all items."))
        text = ngettext(
            "All items of %(count)d subscription are loaded as soon as the listener has it.",
            "All items of %(count)d subscriptions are loaded as soon as the listener has them.",
            len(rows),
        )
        self.message_user(request, text % {"count": len(rows)}, messages.SUCCESS)
        if skipped := queryset.exclude(pk__in=[row.pk for row in rows]).count():
            text = ngettext(
                "%(count)d subscription is disabled and was left out.",
                "%(count)d subscriptions are disabled and were left out.",
                skipped,
            )
            self.message_user(request, text % {"count": skipped}, messages.WARNING)

    # Replay

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Whether a user may replay changes."""
        return request.user.has_perm("directus_realtime.replay_inboxevent")

    @admin.action(
        description=_("Replay changes of the selected subscriptions since…"),
        permissions=["replay"],
    )
    def replay_since(self, request: HttpRequest, queryset: _Rows) -> HttpResponse:
        """Redirect to the page of the replay."""
        keys = ",".join(str(key) for key in queryset.values_list("pk", flat=True))
        return redirect(f"{self.url('replay')}?ids={keys}")

    # The replay writes by a separate database connection, which would wait for this one.
    @transaction.non_atomic_requests
    def replay_view(self, request: HttpRequest) -> HttpResponse:
        """Ask for a time span, and replay its changes."""
        require(self.has_view_permission(request) and self.has_replay_permission(request))
        keys = parse_keys(request.GET.get("ids", ""))
        queryset = self.get_queryset(request).filter(pk__in=keys)
        rows = [
            row for row in queryset.filter(enabled=True, orphaned_at=None) if not query_problem(row)
        ]
        form = ReplayForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            outcome = replay(rows, **form.cleaned_data)
            log_action(request, [r for r in rows if r.name in outcome.events], _replayed(form))
            self._report_outcome(request, outcome)
            return redirect(self.url("changelist"))
        context = self.page_context(
            request,
            gettext("Replay changes"),
            form=form,
            rows=rows,
            disabled=queryset.filter(enabled=False),
        )
        return TemplateResponse(
            request, "admin/directus_realtime/subscription_replay.html", context
        )

    def _report_outcome(self, request: HttpRequest, outcome: Outcome) -> None:
        for name, count in sorted(outcome.events.items()):
            text = ngettext(
                "%(name)s: %(count)d event was put into the inbox.",
                "%(name)s: %(count)d events were put into the inbox.",
                count,
            )
            self.message_user(request, text % {"name": name, "count": count}, messages.SUCCESS)
        for problem in outcome.problems:
            self.message_user(request, problem, messages.ERROR)

    # Duplicate

    @admin.action(description=_("Duplicate the selected subscriptions"), permissions=["add"])
    def duplicate(self, request: HttpRequest, queryset: _Rows) -> HttpResponse | None:
        """Make disabled copies, which can be changed; also of those declared in code."""
        copies = [_copy(row) for row in queryset]
        log_action(request, copies, _("Duplicated."), ADDITION)
        text = ngettext(
            "%(count)d copy was made. It is disabled until you enable it.",
            "%(count)d copies were made. They are disabled until you enable them.",
            len(copies),
        )
        self.message_user(request, text % {"count": len(copies)}, messages.SUCCESS)
        if len(copies) == 1:
            return redirect(self.url("change", copies[0].pk))
        return None


def _report(alias: str, rows: list[DirectusSubscription]) -> ConnectionReport:
    try:
        connection = connection_settings(alias)
    except ImproperlyConfigured as error:
        return ConnectionReport(alias, "", reason=str(error))
    of_connection = [row for row in rows if row.connection == alias]
    wanted = [DesiredSubscription.of(row) for row in of_connection if not query_problem(row)]
    report = async_to_sync(check_connection)(connection, wanted)
    report.subscriptions += [
        SubscriptionReport(row.name, row.collection, ok=False, reason=problem)
        for row in of_connection
        if (problem := query_problem(row))
    ]
    return report


def _replayed(form: ReplayForm) -> Any:
    since, until = form.cleaned_data["since"], form.cleaned_data["until"]
    span = f"{to_the_second(since)} – {to_the_second(until) if until else '…'}"
    return format_lazy(_("Replayed changes: {span}"), span=span)


def _copy(row: DirectusSubscription) -> DirectusSubscription:
    """Save a copy of a subscription, without its state."""
    names = (
        *("connection", "collection", "on_create", "on_update", "on_delete", "filter", "fields"),
        *("item", "group", "snapshot", "debounce", "debounce_by"),
        *("browser_access", "browser_permission", "browser_first_load"),
    )
    copy = DirectusSubscription(**{name: getattr(row, name) for name in names})
    if copy.browser_access == BrowserAccess.FUNCTION:
        copy.browser_access = BrowserAccess.NOBODY
    copy.name, copy.enabled = _free_name(row.name), False
    copy.save()
    return copy


def _free_name(name: str) -> str:
    """An unused name, made from one that is in use."""
    for number in itertools.count(2):
        suffix = f"-{number}"
        found = f"{name[: 100 - len(suffix)]}{suffix}"
        if not DirectusSubscription.objects.filter(name=found).exists():
            break
    return found
