"""The pages of the logged changes whose item was not found."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from directus_realtime.admin.base_admin import (
    AnyAdmin,
    ReadOnlyAdmin,
    state_html,
    time_field,
    wrapping_time,
)
from directus_realtime.models import ParkedChange, ParkedState


@admin.register(ParkedChange)
class ParkedChangeAdmin(ReadOnlyAdmin):
    """Parked and unexplained changes; a user deletes one after checking it."""

    empty_text = _("Every logged change was delivered: its item, or its delete, was found.")
    list_display = (
        *("state_column", "collection", "key_json", "action"),
        *("subscription", "changed_column", "parked_column"),
    )
    list_display_links = ("collection", "key_json")
    list_filter = ("state", "connection", "collection", "subscription")
    list_select_related = ("subscription",)
    search_fields = ("key_json",)
    ordering = ("-state", "parked_at", "pk")
    fields = (
        *("state_column", "remedy_field", "reason", "connection", "subscription"),
        *("collection", "key_json", "action", "activity_id"),
        *("changed_column", "changed_by", "parked_column"),
    )

    changed_column = time_field("changed_at", _("changed"), wrapping_time)
    parked_column = time_field("parked_at", _("parked"), wrapping_time)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether a user may remove a change that was checked."""
        return AnyAdmin.has_delete_permission(self, request, obj)

    @admin.display(description=_("state"), ordering="state")
    def state_column(self, row: ParkedChange) -> str:
        """Whether its delete may still appear in the activity log."""
        return state_html(row.state, ParkedState(row.state).label)

    @admin.display(description=_("what to do"))
    def remedy_field(self, row: ParkedChange) -> str:
        """What the user should do."""
        if row.state == ParkedState.PARKED:
            return gettext(
                "Nothing: the item was not found, and its delete may still appear in the activity "
                "log."
            )
        return gettext(
            "Check whether the token may read the item, and whether a cascade or SQL deleted it. "
            "No event was made; delete this entry when it is dealt with."
        )
