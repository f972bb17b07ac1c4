"""The pages of the inbox: each event and its result at each receiver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from directus_realtime.admin.base_admin import (
    ACTION_LABELS,
    ORIGIN_LABELS,
    data_studio_url,
    list_url,
    state_html,
    time_field,
    with_quiet,
    wrapping_time,
)
from directus_realtime.admin.inbox_change_list import InboxChangeList, KnownValuesFilter, search
from directus_realtime.admin.inbox_views import InboxViews, is_open
from directus_realtime.listener.delivery.receiver_calls import calls_for
from directus_realtime.models import InboxEvent, InboxState
from directus_realtime.utils.json_parser import parse_json
from directus_realtime.utils.redaction import storable

_LABELS = {
    "failed": _("failed"),
    "through": _("succeeded"),
    "waiting": _("not called yet"),
    "given-up": _("not called"),
}


@dataclass(frozen=True)
class ReceiverResult:
    """The result of an event at one receiver.

    Attributes:
        receiver: Name of the receiver.
        outcome: ``failed``, ``through``, ``waiting`` or ``given-up``.
        tries: Number of attempts of a receiver that failed, since the event was received or
            retried by a person; ``None`` where the number is not known.
        error: Type and message of the last failure.
        traceback: Traceback of the last failure.
    """

    receiver: str
    outcome: str
    tries: int | None = None
    error: str = ""
    traceback: str = ""

    @property
    def label(self) -> Any:
        """The outcome, in words."""
        return _LABELS[self.outcome]

    @property
    def short_name(self) -> str:
        """The receiver without its module."""
        return self.receiver.rpartition(".")[2]


def stored_results(row: InboxEvent) -> list[ReceiverResult]:
    """The results that the row holds: failures, and successes while others have failed."""
    failed = [
        ReceiverResult(name, "failed", row.attempts or None, failure["error"], failure["traceback"])
        for name, failure in sorted(row.failures.items())
    ]
    return failed + [ReceiverResult(name, "through") for name in row.delivered]


def all_results(row: InboxEvent) -> list[ReceiverResult]:
    """The stored results, then those of the other receivers that are connected in this process.

    A row keeps no names once all of its receivers have succeeded; the receivers that are
    connected now are listed then.
    """
    stored = stored_results(row)
    names = {result.receiver for result in stored}
    outcome = {InboxState.DONE: "through", InboxState.HANDLED: "given-up"}.get(
        InboxState(row.state), "waiting"
    )
    others = (name for name in _connected(row) if name not in names)
    return [*stored, *(ReceiverResult(name, outcome) for name in others)]


def _connected(row: InboxEvent) -> Iterator[str]:
    """The receivers that this process would call; none for a row that is never delivered."""
    if row.state == InboxState.MERGED:
        return
    try:
        event = row.to_event()
    except ValueError:
        return
    yield from (call.name for call in calls_for(event))


@admin.register(InboxEvent)
class InboxEventAdmin(InboxViews):
    """The received events, and the state of their delivery."""

    empty_text = _("No events yet. What the listener receives is listed here.")
    list_display = (
        *("received_column", "collection_column", "change_column"),
        *("key_column", "status_column"),
    )
    list_display_links = ("received_column", "key_column")
    list_filter = (
        "state",
        ("collection", KnownValuesFilter),
        ("subscription", KnownValuesFilter),
        ("action", KnownValuesFilter),
        ("origin", KnownValuesFilter),
        ("connection", KnownValuesFilter),
    )
    # Most of the time of a page is Django's, for each row.
    list_per_page = 50
    # By id alone: any other order would sort the whole table.
    sortable_by = ()
    ordering = ("-id",)
    search_fields = ("key_json", "event_id")
    show_full_result_count = False
    # Each count would read the whole table.
    show_facets = admin.ShowFacets.NEVER
    fieldsets = (
        (
            None,
            {"fields": ("state_column", "attempts", "next_attempt_field", "receivers_field")},
        ),
        (_("Change"), {"fields": ("collection", "action_field", "key_field", "data_field")}),
        (
            _("Way in"),
            {"fields": ("origin_field", "received_column", "activity_id", "subscription_field")},
        ),
        (_("Way out"), {"fields": ("event_id", "group", "sent_field", "done_field")}),
    )

    class Media:
        css = {"all": ("directus_realtime/inbox.css",)}
        js = (Script("directus_realtime/inbox-live.js", defer=True),)

    received_column = time_field("received_at", _("received"), wrapping_time)
    next_attempt_field = time_field("next_attempt_at", _("next attempt"))
    sent_field = time_field("sent_at", _("sent to groups"))
    done_field = time_field("done_at", _("done"))

    # The list

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[InboxChangeList]:
        """The list with keyset pages."""
        return InboxChangeList

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list; the payloads, which may be large, are not read for it."""
        request.directus_is_list = True  # type: ignore[attr-defined]
        is_for_retry = self.has_retry_permission(request) and (
            request.GET.get("state__exact") == InboxState.DEAD
        )
        context = {"is_for_retry": is_for_retry, **(extra_context or {})}
        return super().changelist_view(request, context)

    def get_queryset(self, request: HttpRequest) -> QuerySet[InboxEvent]:
        """The rows, without the payloads where they are listed."""
        rows = super().get_queryset(request)
        return rows.defer("data_json") if hasattr(request, "directus_is_list") else rows

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[InboxEvent], search_term: str
    ) -> tuple[QuerySet[InboxEvent], bool]:
        """Search for an event id, or for a key of any type."""
        return search(queryset, search_term), False

    @admin.display(description=_("collection, subscription"))
    def collection_column(self, row: InboxEvent) -> str:
        """The collection, and the subscription below it."""
        return with_quiet(row.collection, row.subscription)

    @admin.display(description=_("action, origin"))
    def change_column(self, row: InboxEvent) -> str:
        """The action, and the origin below it."""
        return with_quiet(self.action_field(row), self.origin_field(row))

    @admin.display(description=_("action"))
    def action_field(self, row: InboxEvent) -> str:
        """The action, in words."""
        action = str(ACTION_LABELS.get(row.action, row.action))
        return f"{action} ({gettext('left the filter')})" if row.left_filter else action

    @admin.display(description=_("key"))
    def key_column(self, row: InboxEvent) -> str:
        """The key, without the quotes of a text."""
        return storable(row.key_json.strip('"'))

    @admin.display(description=_("origin"))
    def origin_field(self, row: InboxEvent) -> str:
        """The origin, in words."""
        return str(ORIGIN_LABELS.get(row.origin, row.origin))

    @admin.display(description=_("state"))
    def state_column(self, row: InboxEvent) -> str:
        """The state, coloured."""
        return state_html(row.state, InboxState(row.state).label)

    @admin.display(description=_("state, attempts, receivers"))
    def status_column(self, row: InboxEvent) -> str:
        """The state; the attempts and the results of the receivers, until all have succeeded."""
        found = stored_results(row)
        tries = ""
        if found:
            text = ngettext("%(count)d attempt", "%(count)d attempts", row.attempts)
            tries = format_html(
                '<span class="directus-tries">{}</span>', text % {"count": row.attempts}
            )
        receivers = format_html_join(
            "",
            '<span class="directus-receiver" title="{}">{} {}</span>',
            ((one.receiver, _outcome(one), one.short_name) for one in found),
        )
        shown = format_html("{}{}{}", self.state_column(row), tries, receivers)
        # The script of the list updates the cells that are marked.
        return (
            format_html('<div data-directus-event="{}">{}</div>', row.pk, shown)
            if is_open(row)
            else shown
        )

    # The page of an event

    @admin.display(description=_("key"))
    def key_field(self, row: InboxEvent) -> str:
        """The key, with links to the item and to its other events."""
        inbox = list_url("inboxevent", collection__exact=row.collection, q=row.key_json)
        links = [(inbox, gettext("All events of this item"), "")]
        if url := data_studio_url(row):
            links.insert(0, (url, gettext("Open in Directus"), " target=_blank rel=noopener"))
        shown = format_html_join(
            " ",
            '<a class="directus-key-link" href="{}"{}>{}</a>',
            ((address, SafeString(more), text) for address, text, more in links),
        )
        return format_html("<code>{}</code> {}", storable(row.key_json), shown)

    @admin.display(description=_("data"))
    def data_field(self, row: InboxEvent) -> str:
        """The payload, indented."""
        if not row.data_json:
            return "–"
        # A region that scrolls must be reachable by keyboard.
        return format_html(
            '<pre class="directus-pre" tabindex="0">{}</pre>', indented(row.data_json)
        )

    @admin.display(description=_("receivers"))
    def receivers_field(self, row: InboxEvent) -> str:
        """A table of the receivers with outcome, attempts and last error."""
        found = all_results(row)
        if not found:
            return gettext("None is connected to changes like this one.")
        note = gettext(
            "Once all have succeeded, their names are not kept: these are connected now."
        )
        return format_html(
            '<table class="directus-receivers"><thead><tr><th scope="col">{}</th>'
            '<th scope="col">{}</th><th scope="col">{}</th><th scope="col">{}</th></tr></thead>'
            "<tbody>{}</tbody></table>{}",
            gettext("Receiver"),
            gettext("Outcome"),
            gettext("Tries"),
            gettext("Last error"),
            format_html_join("", _ROW, map(_cells, found)),
            format_html('<p class="help">{}</p>', note) if row.state == InboxState.DONE else "",
        )

    @admin.display(description=_("subscription"))
    def subscription_field(self, row: InboxEvent) -> str:
        """The subscription, and its connection."""
        return f"{row.subscription} ({row.connection})"


_ROW = (
    "<tr><td><code>{}</code></td><td>{}</td>"
    '<td data-label="{}">{}</td><td data-label="{}">{}</td></tr>'
)


def indented(data_json: str) -> str:
    """A payload as indented JSON."""
    try:
        text = json.dumps(parse_json(data_json), indent=2, ensure_ascii=False)
    except ValueError:
        text = data_json
    return storable(text)


def _cells(one: ReceiverResult) -> tuple[Any, ...]:
    error: Any = "–"
    if one.error:
        error = format_html('<p class="directus-error">{}</p>{}', one.error, _folded(one.traceback))
    tries = "–" if one.tries is None else one.tries
    labels = gettext("Tries"), gettext("Last error")
    return one.receiver, _outcome(one, one.label), labels[0], tries, labels[1], error


def _folded(traceback: str) -> SafeString:
    """A traceback to unfold; empty where there is none, such as after a crash of the process."""
    if not traceback:
        return SafeString("")
    return format_html(
        '<details><summary>{}</summary><pre class="directus-pre" tabindex="0">{}</pre></details>',
        gettext("Traceback"),
        traceback,
    )


def _outcome(one: ReceiverResult, label: Any = "") -> SafeString:
    """The outcome as a coloured sign, with the words for screen readers."""
    shown = label or format_html('<span class="visually-hidden">{}:</span>', one.label)
    return format_html(
        '<span class="directus-state directus-outcome-{}">{}</span>', one.outcome, shown
    )
