"""The pages of the inbox: each event and its result at each receiver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from directus_realtime.admin.base_admin import (
    ReadOnlyAdmin,
    studio_url,
    to_the_second,
    with_quiet,
    wrapping_time,
)
from directus_realtime.admin.inbox_change_list import InboxChangeList
from directus_realtime.admin.inbox_filters import (
    ACTION_LABELS,
    ORIGIN_LABELS,
    ActionFilter,
    CollectionFilter,
    ConnectionFilter,
    OriginFilter,
    SubscriptionFilter,
    search,
)
from directus_realtime.admin.inbox_live import InboxLive, is_open
from directus_realtime.listener.delivery.receiver_calls import calls_for
from directus_realtime.models import InboxEvent, InboxState
from directus_realtime.utils.redaction import storable

_LABELS = {
    "failed": _("failed"),
    "through": _("succeeded"),
    "waiting": _("not called yet"),
    "given-up": _("not called"),
}


@dataclass(frozen=True)
class ReceiverResult:
    """What became of an event at one receiver.

    Attributes:
        receiver: Its name.
        outcome: ``failed``, ``through``, ``waiting`` or ``given-up``.
        tries: Of a receiver that failed, since the event came in or was retried by a person;
            ``None`` where the number is not known.
        error: Type and message of the last failure.
        traceback: Of the last failure.
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


def known_receptions(row: InboxEvent) -> list[ReceiverResult]:
    """What the row itself tells: who failed, and who is through while others are not."""
    failed = [
        ReceiverResult(name, "failed", row.attempts or None, failure["error"], failure["traceback"])
        for name, failure in sorted(row.failures.items())
    ]
    return failed + [ReceiverResult(name, "through") for name in row.delivered]


def all_receptions(row: InboxEvent) -> list[ReceiverResult]:
    """Also the receivers that are connected in this process and of which the row tells nothing.

    Once all of its receivers are through, a row keeps no names: those that are connected now
    are shown as the ones that it went to.
    """
    known = known_receptions(row)
    names = {reception.receiver for reception in known}
    outcome = {InboxState.DONE: "through", InboxState.HANDLED: "given-up"}.get(
        InboxState(row.state), "waiting"
    )
    others = (name for name in _connected(row) if name not in names)
    return [*known, *(ReceiverResult(name, outcome) for name in others)]


def _connected(row: InboxEvent) -> Iterator[str]:
    """The receivers that this process would call; none for a row that is never delivered."""
    if row.state == InboxState.MERGED:
        return
    try:
        event = row.to_event()
    except (ValueError, RecursionError):
        return
    yield from (call.name for call in calls_for(event))


@admin.register(InboxEvent)
class InboxEventAdmin(InboxLive, ReadOnlyAdmin):
    """What came in, and what became of it."""

    empty_text = _("No events yet. What the listener receives is listed here.")
    list_display = (
        "listed_received",
        "listed_collection",
        "listed_change",
        "listed_key",
        "listed_standing",
    )
    list_display_links = ("listed_received", "listed_key")
    list_filter = (
        "state",
        CollectionFilter,
        SubscriptionFilter,
        ActionFilter,
        OriginFilter,
        ConnectionFilter,
    )
    # Most of the time of a page is Django's, for each row.
    list_per_page = 50
    # By id alone: any other order would sort the whole table.
    sortable_by = ()
    ordering = ("-id",)
    search_fields = ("key_json", "event_id")
    show_full_result_count = False
    # Each count would walk through the whole table.
    show_facets = admin.ShowFacets.NEVER
    fieldsets = (
        (
            None,
            {"fields": ("listed_state", "attempts", "shown_next_attempt", "shown_receivers")},
        ),
        (
            _("Change"),
            {
                "fields": (
                    "collection",
                    "listed_action",
                    "shown_key",
                    "shown_data",
                )
            },
        ),
        (
            _("Way in"),
            {"fields": ("listed_origin", "listed_received", "activity_id", "shown_subscription")},
        ),
        (_("Way out"), {"fields": ("event_id", "group", "shown_sent", "shown_done")}),
    )
    readonly_fields = (
        "listed_state",
        "listed_action",
        "listed_origin",
        "listed_received",
        "shown_next_attempt",
        "shown_sent",
        "shown_done",
        "shown_key",
        "shown_data",
        "shown_receivers",
        "shown_subscription",
    )

    class Media:
        css = {"all": ("directus_realtime/admin.css", "directus_realtime/inbox.css")}
        js = (Script("directus_realtime/inbox-live.js", defer=True),)

    # The list

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[InboxChangeList]:
        """The list with pages of its own."""
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
        """Look for an event id, or for a key, whatever its type is."""
        return search(queryset, search_term), False

    @admin.display(description=_("received"))
    def listed_received(self, row: InboxEvent) -> str:
        """When it came in, to the second."""
        return wrapping_time(row.received_at)

    @admin.display(description=_("collection, subscription"))
    def listed_collection(self, row: InboxEvent) -> str:
        """The collection, and the subscription that wants the change."""
        return with_quiet(row.collection, row.subscription)

    @admin.display(description=_("action, origin"))
    def listed_change(self, row: InboxEvent) -> str:
        """What happened, and how it was learnt of."""
        return with_quiet(self.listed_action(row), self.listed_origin(row))

    @admin.display(description=_("action"))
    def listed_action(self, row: InboxEvent) -> str:
        """What happened, in words."""
        action = str(ACTION_LABELS.get(row.action, row.action))
        return f"{action} ({gettext('left the filter')})" if row.left_filter else action

    @admin.display(description=_("key"))
    def listed_key(self, row: InboxEvent) -> str:
        """The key, without the quotes of a text."""
        return storable(row.key_json.strip('"'))

    @admin.display(description=_("origin"))
    def listed_origin(self, row: InboxEvent) -> str:
        """How it was learnt of, in words."""
        return str(ORIGIN_LABELS.get(row.origin, row.origin))

    @admin.display(description=_("state"))
    def listed_state(self, row: InboxEvent) -> str:
        """The state, coloured."""
        return format_html(
            '<span class="directus-state directus-state-{}">{}</span>',
            row.state,
            InboxState(row.state).label,
        )

    @admin.display(description=_("state, attempts, receivers"))
    def listed_standing(self, row: InboxEvent) -> str:
        """The state; how often it was tried, who failed and who is through, until all are."""
        found = known_receptions(row)
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
        shown = format_html("{}{}{}", self.listed_state(row), tries, receivers)
        # The page follows what is marked.
        return (
            format_html('<div data-directus-event="{}">{}</div>', row.pk, shown)
            if is_open(row)
            else shown
        )

    # The page of an event

    @admin.display(description=_("key"))
    def shown_key(self, row: InboxEvent) -> str:
        """The key, with the ways to the item and to its other events."""
        which = {"collection__exact": row.collection, "q": row.key_json}
        inbox = reverse("admin:directus_realtime_inboxevent_changelist")
        links = [(f"{inbox}?{urlencode(which)}", gettext("All events of this item"), "")]
        if url := studio_url(row):
            links.insert(0, (url, gettext("Open in Directus"), " target=_blank rel=noopener"))
        shown = format_html_join(
            " ",
            '<a class="directus-key-link" href="{}"{}>{}</a>',
            ((address, SafeString(more), text) for address, text, more in links),
        )
        return format_html("<code>{}</code> {}", storable(row.key_json), shown)

    @admin.display(description=_("data"))
    def shown_data(self, row: InboxEvent) -> str:
        """The payload, indented."""
        if not row.data_json:
            return "–"
        # A region that scrolls must be reached by keyboard.
        return format_html(
            '<pre class="directus-pre" tabindex="0">{}</pre>', indented(row.data_json)
        )

    @admin.display(description=_("receivers"))
    def shown_receivers(self, row: InboxEvent) -> str:
        """Each receiver: how it ended, how often it was tried, what it raised."""
        found = all_receptions(row)
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
            format_html_join("", _ROW, (_cells(one) for one in found)),
            format_html('<p class="help">{}</p>', note) if row.state == InboxState.DONE else "",
        )

    @admin.display(description=_("next attempt"))
    def shown_next_attempt(self, row: InboxEvent) -> str:
        """When it is tried again."""
        return _moment(row.next_attempt_at)

    @admin.display(description=_("sent to groups"))
    def shown_sent(self, row: InboxEvent) -> str:
        """When its group messages were sent."""
        return _moment(row.sent_at)

    @admin.display(description=_("done"))
    def shown_done(self, row: InboxEvent) -> str:
        """When it was through, or put away."""
        return _moment(row.done_at)

    @admin.display(description=_("subscription"))
    def shown_subscription(self, row: InboxEvent) -> str:
        """The subscription it came by, and its connection."""
        return f"{row.subscription} ({row.connection})"


_ROW = (
    "<tr><td><code>{}</code></td><td>{}</td>"
    '<td data-label="{}">{}</td><td data-label="{}">{}</td></tr>'
)


def indented(data_json: str) -> str:
    """A payload as people read it."""
    try:
        text = json.dumps(json.loads(data_json), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = data_json
    return storable(text)


def _moment(moment: datetime | None) -> str:
    return to_the_second(moment) if moment else "–"


def _cells(one: ReceiverResult) -> tuple[Any, ...]:
    error: Any = "–"
    if one.error:
        error = format_html('<p class="directus-error">{}</p>{}', one.error, _folded(one.traceback))
    tries = "–" if one.tries is None else one.tries
    labels = gettext("Tries"), gettext("Last error")
    return one.receiver, _outcome(one, one.label), labels[0], tries, labels[1], error


def _folded(traceback: str) -> SafeString:
    """A traceback to unfold; nothing where there is none, as of a process that ended."""
    if not traceback:
        return SafeString("")
    return format_html(
        '<details><summary>{}</summary><pre class="directus-pre" tabindex="0">{}</pre></details>',
        gettext("Traceback"),
        traceback,
    )


def _outcome(one: ReceiverResult, label: Any = "") -> SafeString:
    """The outcome as a coloured sign, with the words for those who do not see it."""
    shown = label or format_html('<span class="visually-hidden">{}:</span>', one.label)
    return format_html(
        '<span class="directus-state directus-outcome-{}">{}</span>', one.outcome, shown
    )
