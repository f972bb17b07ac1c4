"""The pages of the connections and listeners: how they stand."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from directus_realtime.admin.shared import ReadOnlyAdmin, to_the_second
from directus_realtime.health import Limits, gather
from directus_realtime.models import ConnectionStatus, InboxState, ListenerProcess, ListenerRole


@admin.register(ConnectionStatus)
class ConnectionStatusAdmin(ReadOnlyAdmin):
    """How each connection stands."""

    list_display = ("alias", "listed_state", "url", "version", "identity", "changed_at")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "alias",
                    "listed_state",
                    "shown_reason",
                    "changed_at",
                    "url",
                    "version",
                    "identity",
                    "errors",
                    "heartbeat_at",
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
        "shown_reason",
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
            row.current_state,
        )

    @admin.display(description=_("reason"))
    def shown_reason(self, row: ConnectionStatus) -> str:
        """Why it is so."""
        return row.current_reason or "–"

    @admin.display(description=_("lag"))
    def shown_lag(self, row: Any) -> str:
        """How long the oldest pending event waits."""
        return gettext("%(seconds).1f s") % {"seconds": row.health.inbox.lag}

    @admin.display(description=_("not through yet"))
    def shown_counts(self, row: Any) -> str:
        """What is in the inbox, by state; states without any are left out."""
        counts = row.health.inbox.counts.items()
        return ", ".join(f"{n} {InboxState(state).label}" for state, n in counts if n) or "–"

    @admin.display(description=_("caught up"))
    def shown_catch_up(self, row: Any) -> str:
        """When the activity log was last worked through."""
        catch_up = row.health.catch_up
        return to_the_second(catch_up.caught_up_at) if catch_up and catch_up.caught_up_at else "–"

    @admin.display(description=_("rows read"))
    def shown_rows(self, row: Any) -> str:
        """How far the activity log is worked through, while a gap is caught up."""
        if row.health.catch_up is None or not row.health.catch_up.rows_total:
            return "–"
        return gettext("%(done)s of %(total)s rows") % {
            "done": row.health.catch_up.rows_done,
            "total": row.health.catch_up.rows_total,
        }

    @admin.display(description=_("problem"))
    def shown_catch_up_problem(self, row: Any) -> str:
        """What keeps the activity log from being read."""
        return (row.health.catch_up and row.health.catch_up.problem) or "–"

    @admin.display(description=_("last gap"))
    def shown_gap(self, row: Any) -> str:
        """When events may last have been missed, and whether they were recovered."""
        catch_up = row.health.catch_up
        if catch_up is None or catch_up.gap_since is None:
            return "–"
        verdicts = {True: _("recovered"), False: _("not recovered"), None: _("not recovered yet")}
        until = to_the_second(catch_up.gap_until) if catch_up.gap_until else "…"
        span = f"{to_the_second(catch_up.gap_since)} – {until}"
        return f"{span}: {verdicts[catch_up.gap_recovered]}"

    @admin.display(description=_("active"))
    def shown_active(self, row: Any) -> str:
        """Which listener has the connection."""
        if not row.health.active:
            return "–"
        return gettext("%(listener)s (fencing number %(number)d)") % {
            "listener": row.health.active,
            "number": row.health.fencing_number,
        }

    @admin.display(description=_("standing by"))
    def shown_standing_by(self, row: Any) -> str:
        """Which listeners would take over."""
        return ", ".join(row.health.standing_by) or "–"


@admin.register(ListenerProcess)
class ListenerProcessAdmin(ReadOnlyAdmin):
    """The processes of ``directus_listen``, and what each of them does."""

    list_display = ("host", "pid", "listed_connections", "listed_role", "listed_heartbeat")
    fields = (
        "host",
        "pid",
        "listed_connections",
        "listed_role",
        "started_at",
        "heartbeat_at",
    )
    readonly_fields = ("listed_connections", "listed_role")
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

    @admin.display(description=_("heartbeat"), ordering="heartbeat_at")
    def listed_heartbeat(self, row: ListenerProcess) -> str:
        """When it last wrote, to the second."""
        return to_the_second(row.heartbeat_at)
