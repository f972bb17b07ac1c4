"""The pages of the connections and listeners: their health."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from directus_realtime.admin import connection_display as texts
from directus_realtime.admin.base_admin import ReadOnlyAdmin, log_action, to_the_second, with_quiet
from directus_realtime.admin.subscription_status import NO_LISTENER
from directus_realtime.health import gather
from directus_realtime.health_facts import HealthLevel, HealthThresholds
from directus_realtime.models import ConnectionStatus, ListenerProcess, ListenerRole, LogPosition

_PREFIX = "directus_realtime_connectionstatus"
_ACKNOWLEDGED = _("The last gap was acknowledged.")


@admin.register(ConnectionStatus)
class ConnectionStatusAdmin(ReadOnlyAdmin):
    """Health of each connection."""

    empty_text = _("No listener has been started yet. Start it: python manage.py directus_listen")
    list_display = ("alias", "listed_state", "url", "version", "identity", "listed_since")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "alias",
                    "shown_level",
                    "listed_state",
                    "listed_since",
                    "shown_attention",
                    "shown_notes",
                    "url",
                    "version",
                    "identity",
                    "shown_socket",
                    "errors",
                    "shown_complete",
                    "shown_heartbeat",
                )
            },
        ),
        (_("Inbox"), {"fields": ("shown_lag", "shown_counts")}),
        (
            _("Activity log"),
            {
                "fields": (
                    "shown_catch_up",
                    "shown_rows",
                    "shown_log_problem",
                    "shown_holes",
                    "shown_parked",
                    "shown_dropped",
                    "shown_gap",
                )
            },
        ),
        (_("Listeners"), {"fields": ("shown_active", "shown_standing_by")}),
    )
    readonly_fields = (
        "shown_level",
        "listed_state",
        "shown_attention",
        "shown_notes",
        "listed_since",
        "shown_socket",
        "shown_complete",
        "shown_heartbeat",
        "shown_lag",
        "shown_counts",
        "shown_catch_up",
        "shown_rows",
        "shown_log_problem",
        "shown_holes",
        "shown_parked",
        "shown_dropped",
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
            (row.health,) = gather([row.alias], HealthThresholds())  # type: ignore[attr-defined]
        return row

    # The last gap

    def get_urls(self) -> list[URLPattern]:
        """The pages of the admin, and the target of the button."""
        view = self.admin_site.admin_view(require_POST(self.acknowledge_gap_view))
        name = f"{_PREFIX}_acknowledge_gap"
        return [
            path("<path:object_id>/acknowledge-gap/", view, name=name),
            *super().get_urls(),
        ]

    def has_acknowledge_permission(self, request: HttpRequest) -> bool:
        """Whether a user may acknowledge gaps; nothing else of a connection can be changed."""
        return request.user.has_perm("directus_realtime.change_connectionstatus")

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The page, with the button where there is a gap to acknowledge."""
        health = getattr(kwargs.get("obj"), "health", None)
        gap = health.gap if health is not None else None
        if gap is not None and gap.is_unresolved and self.has_acknowledge_permission(request):
            context["unresolved_gap"] = gap.since.isoformat()
        return super().render_change_form(request, context, *args, **kwargs)

    def acknowledge_gap_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Acknowledge the gap that the page showed; a newer one has to be seen first."""
        if not self.has_acknowledge_permission(request):
            raise PermissionDenied
        row = ConnectionStatus.objects.filter(pk=object_id).first()
        if row is None:
            raise Http404
        position = LogPosition.objects.filter(pk=row.pk, gap_since__isnull=False).first()
        shown = request.POST.get("gap")
        if position and position.gap_since and position.gap_since.isoformat() != shown:
            self.message_user(
                request,
                gettext("There is a newer gap. Read about it before you acknowledge it."),
                messages.WARNING,
            )
        elif position and position.acknowledge_gap():
            log_action(request, [row], _ACKNOWLEDGED)
            self.message_user(request, str(_ACKNOWLEDGED))
        else:
            text = gettext("There is no gap to acknowledge.")
            self.message_user(request, text, messages.WARNING)
        return HttpResponseRedirect(reverse(f"admin:{_PREFIX}_change", args=[row.pk]))

    # Columns and fields

    @admin.display(description=_("health"))
    def shown_level(self, row: Any) -> str:
        """The level of its health."""
        level: HealthLevel = row.health.level
        return format_html(
            '<span class="directus-state directus-level-{}">{}</span>', level.value, level.label
        )

    @admin.display(description=_("notes"))
    def shown_notes(self, row: Any) -> str:
        """Notes that are no problem."""
        return texts.notes_of(row.health)

    @admin.display(description=_("WebSocket"))
    def shown_socket(self, row: Any) -> str:
        """Whether the WebSocket announces changes."""
        return texts.socket_of(row.health)

    @admin.display(description=_("holes"))
    def shown_holes(self, row: Any) -> str:
        """Ids of the activity log that are not visible yet."""
        return with_quiet(
            texts.holes_of(row.health),
            _("Ids below the last one that was read; transactions that are open may fill them."),
        )

    @admin.display(description=_("parked changes"))
    def shown_parked(self, row: Any) -> str:
        """Logged changes whose item was not found, with the way to them."""
        text = texts.parked_of(row.health)
        if not row.health.parked and not row.health.unexplained:
            return text
        address = reverse("admin:directus_realtime_parkedchange_changelist")
        query = urlencode({"connection__exact": row.alias})
        return format_html('<a href="{}?{}">{}</a>', address, query, text)

    @admin.display(description=_("dropped ids"))
    def shown_dropped(self, row: Any) -> str:
        """Ids of the activity log that were given up."""
        help_text = LogPosition.dropped.field.help_text
        return with_quiet(texts.dropped_of(row.health), help_text)

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

    @admin.display(description=_("log read"))
    def shown_catch_up(self, row: Any) -> str:
        """When the activity log was last read to its end."""
        return texts.caught_up_of(row.health)

    @admin.display(description=_("rows read"))
    def shown_rows(self, row: Any) -> str:
        """Rows read so far, while a gap is caught up."""
        return texts.rows_of(row.health)

    @admin.display(description=_("problem"))
    def shown_log_problem(self, row: Any) -> str:
        """What keeps it from being read."""
        return texts.problem_of(row.health)

    @admin.display(description=_("last gap"))
    def shown_gap(self, row: Any) -> str:
        """The last gap, and what became of it."""
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
        "shown_problems",
    )
    readonly_fields = (
        "listed_connections",
        "listed_role",
        "shown_started",
        "listed_heartbeat",
        "shown_problems",
    )
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

    @admin.display(description=_("problems"))
    def shown_problems(self, row: ListenerProcess) -> str:
        """Why it could not log in while it stood by, a line for each connection."""
        return "\n".join(f"{alias}: {text}" for alias, text in row.problems.items()) or "–"
