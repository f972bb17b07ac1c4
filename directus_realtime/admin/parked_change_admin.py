"""The list of logged changes whose item was not found."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from directus_realtime.admin.base_admin import AnyAdmin, ReadOnlyAdmin, wrapping_time
from directus_realtime.models import ParkedChange, ParkedState


@admin.register(ParkedChange)
class ParkedChangeAdmin(ReadOnlyAdmin):
    """Parked and unexplained changes; to delete one means that it is dealt with."""

    empty_text = _("Every logged change was delivered: its item, or its delete, was found.")
    list_display = (
        "listed_state",
        "collection",
        "key_json",
        "action",
        "subscription",
        "listed_changed",
        "listed_parked",
    )
    list_display_links = ("collection", "key_json")
    list_filter = ("state", "connection", "collection", "subscription")
    list_select_related = ("subscription",)
    search_fields = ("key_json",)
    ordering = ("-state", "parked_at", "pk")
    fields = (
        "listed_state",
        "shown_remedy",
        "reason",
        "connection",
        "subscription",
        "collection",
        "key_json",
        "action",
        "activity_id",
        "listed_changed",
        "changed_by",
        "listed_parked",
    )
    readonly_fields = ("listed_state", "shown_remedy", "listed_changed", "listed_parked")

    class Media:
        css = {"all": ("directus_realtime/admin.css",)}

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether a user may remove a change that is dealt with."""
        return AnyAdmin.has_delete_permission(self, request, obj)

    @admin.display(description=_("state"), ordering="state")
    def listed_state(self, row: ParkedChange) -> str:
        """Whether its delete may still appear in the activity log."""
        label = ParkedState(row.state).label
        return format_html(
            '<span class="directus-state directus-state-{}">{}</span>', row.state, label
        )

    @admin.display(description=_("what to do"))
    def shown_remedy(self, row: ParkedChange) -> str:
        """What the state asks of a person."""
        if row.state == ParkedState.PARKED:
            return gettext(
                "Nothing: the item was not found, and its delete may still appear in the activity "
                "log."
            )
        return gettext(
            "Check whether the token may read the item, and whether a cascade or SQL deleted it. "
            "No event was made; delete this entry when it is dealt with."
        )

    @admin.display(description=_("changed"), ordering="changed_at")
    def listed_changed(self, row: ParkedChange) -> str:
        """When Directus logged it, to the second."""
        return wrapping_time(row.changed_at)

    @admin.display(description=_("parked"), ordering="parked_at")
    def listed_parked(self, row: ParkedChange) -> str:
        """When its item was not found, to the second."""
        return wrapping_time(row.parked_at)
