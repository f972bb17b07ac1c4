"""The pages of the connections and listeners: how they stand."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from directus_realtime.admin import standing_texts as texts
from directus_realtime.admin.shared import ReadOnlyAdmin, to_the_second, with_quiet
from directus_realtime.admin.standing import NO_LISTENER
from directus_realtime.health import Limits, gather
from directus_realtime.models import ConnectionStatus, ListenerProcess, ListenerRole


@admin.register(ConnectionStatus)
class ConnectionStatusAdmin(ReadOnlyAdmin):
    """How each connection stands."""

    empty_text = _("No listener has been started yet. Start it: python manage.py directus_listen")
    list_display = ("alias", "listed_state", "url", "version", "identity", "listed_since")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "alias",
                    "listed_state",
                    "listed_since",
                    "shown_attention",
                    "url",
                    "version",
                    "identity",
                    "errors",
                    "shown_complete",
                    "shown_heartbeat",
                )
            },
        ),
        (_("Inbox"), {"fields": ("shown_lag", "shown_counts")}),
        (
            _("Catch-up"),
            {"fields": ("shown_catch_up", "shown_rows", "shown_catch_up_problem", "shown_gap")},
        ),
        (_("Listeners"), {"fields": ("shown_active", "shown_standing_by")}),
    )
    readonly_fields = (
        "listed_state",
        "shown_attention",
        "listed_since",
        "shown_complete",
        "shown_heartbeat",
        "shown_lag",
        "shown_counts",
        "shown_catch_up",
        "shown_rows",
        "shown_catch_up_problem",
        "shown_gap",
        "shown_active",
        "shown_standing_by",
    )

    class Media:
        css = {"all": ("directus_realtime/admin.css",)}

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> ConnectionStatus | None:
        """The row, with the rest of what is known of the connection."""
        row: ConnectionStatus | None = super().get_object(request, object_id, from_field)
        if row is not None:
            (row.health,) = gather([row.alias], Limits())  # type: ignore[attr-defined]
        return row

    @admin.display(description=_("state"))
    def listed_state(self, row: ConnectionStatus) -> str:
        """The state as it is now."""
        return format_html(
            '<span class="directus-state directus-state-{}" title="{}">{}</span>',
            row.current_state,
            row.current_reason,
            texts.state_label(row.current_state),
        )

    @admin.display(description=_("what to look at"))
    def shown_attention(self, row: Any) -> str:
        """What is not healthy, as ``directus_status`` says it; else why the state is so."""
        return texts.attention_of(row.health) or row.current_reason or "–"

    @admin.display(description=_("since"), ordering="changed_at")
    def listed_since(self, row: ConnectionStatus) -> str:
        """Since when it is so, to the second; without a listener, since its last heartbeat."""
        return to_the_second(row.changed_at if row.has_listener else row.heartbeat_at)

    @admin.display(description=_("complete until"))
    def shown_complete(self, row: ConnectionStatus) -> str:
        """Up to when nothing is unaccounted for, and what that means."""
        help_text = ConnectionStatus.complete_until.field.help_text
        moment = to_the_second(row.complete_until) if row.complete_until else "–"
        return with_quiet(moment, help_text)

    @admin.display(description=_("heartbeat"))
    def shown_heartbeat(self, row: ConnectionStatus) -> str:
        """When its listener last wrote, to the second."""
        return to_the_second(row.heartbeat_at)

    @admin.display(description=_("lag"))
    def shown_lag(self, row: Any) -> str:
        """How long the oldest pending event waits."""
        return texts.lag_of(row.health)

    @admin.display(description=_("not through yet"))
    def shown_counts(self, row: Any) -> str:
        """What is in the inbox and not through, by state."""
        return texts.counts_of(row.health)

    @admin.display(description=_("caught up"))
    def shown_catch_up(self, row: Any) -> str:
        """When the activity log was last worked through."""
        return texts.caught_up_of(row.health)

    @admin.display(description=_("rows read"))
    def shown_rows(self, row: Any) -> str:
        """How far it is worked through, while a gap is caught up."""
        return texts.rows_of(row.health)

    @admin.display(description=_("problem"))
    def shown_catch_up_problem(self, row: Any) -> str:
        """What keeps it from being read."""
        return texts.problem_of(row.health)

    @admin.display(description=_("last gap"))
    def shown_gap(self, row: Any) -> str:
        """When events may last have been missed."""
        return texts.gap_of(row.health)

    @admin.display(description=_("active"))
    def shown_active(self, row: Any) -> str:
        """Which listener has the connection."""
        return texts.active_of(row.health)

    @admin.display(description=_("standing by"))
    def shown_standing_by(self, row: Any) -> str:
        """Which listeners would take over."""
        return texts.standing_by_of(row.health)


@admin.register(ListenerProcess)
class ListenerProcessAdmin(ReadOnlyAdmin):
    """The processes of ``directus_listen``, and what each of them does."""

    empty_text = NO_LISTENER
    list_display = ("host", "pid", "listed_connections", "listed_role", "listed_heartbeat")
    fields = (
        "host",
        "pid",
        "listed_connections",
        "listed_role",
        "shown_started",
        "listed_heartbeat",
    )
    readonly_fields = ("listed_connections", "listed_role", "shown_started", "listed_heartbeat")
    ordering = ("role", "host", "pid")

    class Media:
        css = {"all": ("directus_realtime/admin.css",)}

    @admin.display(description=_("connections"))
    def listed_connections(self, row: ListenerProcess) -> str:
        """The aliases of its connections."""
        return ", ".join(row.aliases)

    @admin.display(description=_("role"), ordering="role")
    def listed_role(self, row: ListenerProcess) -> str:
        """What it does now; one that was killed could not say that it is gone."""
        role, label = (
            (row.role, ListenerRole(row.role).label) if row.is_alive else ("gone", _("gone"))
        )
        return format_html('<span class="directus-state directus-state-{}">{}</span>', role, label)

    @admin.display(description=_("started"))
    def shown_started(self, row: ListenerProcess) -> str:
        """When it was started, to the second."""
        return to_the_second(row.started_at)

    @admin.display(description=_("heartbeat"), ordering="heartbeat_at")
    def listed_heartbeat(self, row: ListenerProcess) -> str:
        """When it last wrote, to the second."""
        return to_the_second(row.heartbeat_at)
