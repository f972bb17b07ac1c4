"""The pages of the inbox: what came in, and what became of it."""

from __future__ import annotations

import json

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from directus_realtime.admin.shared import ReadOnlyAdmin, to_the_second
from directus_realtime.models import InboxEvent, InboxState
from directus_realtime.protocol.redaction import storable


@admin.register(InboxEvent)
class InboxEventAdmin(ReadOnlyAdmin):
    """What came in, and what became of it."""

    list_display = (
        "listed_received",
        "collection",
        "action",
        "key_json",
        "subscription",
        "origin",
        "listed_state",
        "attempts",
    )
    list_display_links = ("listed_received", "key_json")
    list_filter = ("state", "collection", "action", "origin", "connection")
    search_fields = ("=key_json", "=event_id")
    search_help_text = _('Key (as JSON: 42 or "a1b2") or event id')
    show_full_result_count = False
    actions = ("retry",)
    fieldsets = (
        (None, {"fields": ("event_id", "subscription", "connection", "group")}),
        (
            _("Change"),
            {"fields": ("collection", "action", "left_filter", "key_json", "shown_data")},
        ),
        (_("Way in"), {"fields": ("origin", "received_at", "activity_id")}),
        (
            _("Way out"),
            {
                "fields": (
                    "listed_state",
                    "attempts",
                    "next_attempt_at",
                    "shown_failures",
                    "shown_delivered",
                    "sent_at",
                    "done_at",
                )
            },
        ),
    )
    readonly_fields = ("listed_state", "shown_data", "shown_failures", "shown_delivered")

    class Media:
        css = {"all": ("directus_realtime/admin.css",)}

    @admin.display(description=_("received"), ordering="received_at")
    def listed_received(self, row: InboxEvent) -> str:
        """When it came in, to the second."""
        return to_the_second(row.received_at)

    @admin.display(description=_("state"), ordering="state")
    def listed_state(self, row: InboxEvent) -> str:
        """The state, coloured."""
        return format_html(
            '<span class="directus-state directus-state-{}">{}</span>',
            row.state,
            InboxState(row.state).label,
        )

    @admin.display(description=_("data"))
    def shown_data(self, row: InboxEvent) -> str:
        """The payload, indented."""
        if not row.data_json:
            return "–"
        text = json.dumps(json.loads(row.data_json), indent=2, ensure_ascii=False)
        return format_html('<pre class="directus-pre">{}</pre>', storable(text))

    @admin.display(description=_("failures"))
    def shown_failures(self, row: InboxEvent) -> str:
        """Each receiver that failed, with its traceback."""
        return (
            format_html_join(
                "",
                '<p><strong>{}</strong>: {}</p><pre class="directus-pre">{}</pre>',
                ((f["receiver"], f["error"], f["traceback"]) for f in row.failures.values()),
            )
            or "–"
        )

    @admin.display(description=_("delivered to"))
    def shown_delivered(self, row: InboxEvent) -> str:
        """The receivers that are through, while others are not."""
        return ", ".join(row.delivered) or "–"

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Whoever could change an event may have it delivered again."""
        return request.user.has_perm("directus_realtime.change_inboxevent")

    @admin.action(description=_("Try the selected dead letters again"), permissions=["retry"])
    def retry(self, request: HttpRequest, queryset: QuerySet[InboxEvent]) -> None:
        """Put dead letters and waiting failures back; only what failed is tried again."""
        count = retry_now(queryset)
        text = ngettext(
            "%(count)d event is tried again.", "%(count)d events are tried again.", count
        )
        self.message_user(request, text % {"count": count}, messages.SUCCESS)


def retry_now(rows: QuerySet[InboxEvent]) -> int:
    """Have dead and failed events delivered again, by all attempts.

    Returns:
        How many there were.
    """
    dead = rows.filter(state=InboxState.DEAD).update(state=InboxState.PENDING, attempts=0)
    failed = rows.filter(state=InboxState.FAILED).update(next_attempt_at=timezone.now())
    return dead + failed
