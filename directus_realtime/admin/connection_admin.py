"""The pages of the connections, the listeners and the parked changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import linebreaksbr
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from directus_realtime.admin import connection_display as texts
from directus_realtime.admin.base_admin import (
    AnyAdmin,
    ReadOnlyAdmin,
    list_url,
    log_action,
    require,
    state_html,
    time_field,
    to_the_second,
    with_quiet,
    wrapping_time,
)
from directus_realtime.admin.subscription_status import NO_LISTENER
from directus_realtime.health import gather
from directus_realtime.health_facts import ConnectionHealth, HealthLevel, HealthThresholds
from directus_realtime.models import (
    ConnectionStatus,
    ListenerProcess,
    ListenerRole,
    LogPosition,
    ParkedChange,
    ParkedState,
)

_ACKNOWLEDGED = _("The last gap was acknowledged.")


def _health_field(
    description: Any, text: Callable[[ConnectionHealth], str], help_text: Any = ""
) -> Callable[[Any, Any], str]:
    """Return a display method for a text about the health of a connection."""

    @admin.display(description=description)
    def field(model_admin: Any, row: Any) -> str:
        shown = text(row.health)
        return with_quiet(linebreaksbr(shown), help_text) if help_text else shown

    return field


@admin.register(ConnectionStatus)
class ConnectionStatusAdmin(ReadOnlyAdmin):
    """Health of each connection."""

    empty_text = _("No listener has been started yet. Start it: python manage.py directus_listen")
    list_display = ("alias", "state_column", "url", "version", "identity", "since_column")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    *("alias", "level_field", "state_column", "since_column"),
                    *("attention_field", "notes_field", "url", "version", "identity"),
                    *("socket_field", "errors", "complete_field", "heartbeat_field"),
                )
            },
        ),
        (_("Inbox"), {"fields": ("lag_field", "counts_field")}),
        (
            _("Activity log"),
            {
                "fields": (
                    *("caught_up_field", "rows_field", "problem_field", "holes_field"),
                    *("parked_field", "unlogged_field", "dropped_field", "gap_field"),
                )
            },
        ),
        (_("Listeners"), {"fields": ("active_field", "standing_by_field")}),
    )

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> ConnectionStatus | None:
        """The row, with the health of the connection."""
        row: ConnectionStatus | None = super().get_object(request, object_id, from_field)
        if row is not None:
            (row.health,) = gather([row.alias], HealthThresholds())  # type: ignore[attr-defined]
        return row

    # The last gap

    def views(self) -> list[tuple[str, str, Callable[..., HttpResponse]]]:
        """The target of the button."""
        view = require_POST(self.acknowledge_gap_view)
        return [("<path:object_id>/acknowledge-gap/", "acknowledge_gap", view)]

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
        require(self.has_acknowledge_permission(request))
        row = ConnectionStatus.objects.filter(pk=object_id).first()
        if row is None:
            raise Http404
        position = LogPosition.objects.filter(pk=row.pk, gap_since__isnull=False).first()
        shown = request.POST.get("gap")
        if position and position.gap_since and position.gap_since.isoformat() != shown:
            text = gettext("There is a newer gap. Read about it before you acknowledge it.")
            self.message_user(request, text, messages.WARNING)
        elif position and position.acknowledge_gap():
            log_action(request, [row], _ACKNOWLEDGED)
            self.message_user(request, str(_ACKNOWLEDGED))
        else:
            text = gettext("There is no gap to acknowledge.")
            self.message_user(request, text, messages.WARNING)
        return HttpResponseRedirect(self.url("change", row.pk))

    # Columns and fields

    notes_field = _health_field(_("notes"), texts.notes)
    socket_field = _health_field(_("WebSocket"), texts.socket)
    lag_field = _health_field(_("lag"), texts.lag)
    counts_field = _health_field(_("not through yet"), texts.counts)
    caught_up_field = _health_field(_("log read"), texts.caught_up)
    rows_field = _health_field(_("rows read"), texts.rows)
    problem_field = _health_field(_("problem"), texts.problem)
    holes_field = _health_field(
        _("holes"),
        texts.holes,
        _("Ids below the last one that was read; transactions that are open may fill them."),
    )
    dropped_field = _health_field(
        _("dropped ids"), texts.dropped, LogPosition.dropped.field.help_text
    )
    gap_field = _health_field(_("last gap"), texts.gap)
    active_field = _health_field(_("active"), texts.active)
    standing_by_field = _health_field(_("standing by"), texts.standing_by)
    heartbeat_field = time_field("heartbeat_at", _("heartbeat"))

    @admin.display(description=_("health"))
    def level_field(self, row: Any) -> str:
        """The level of its health."""
        level: HealthLevel = row.health.level
        return format_html(
            '<span class="directus-state directus-level-{}">{}</span>', level.value, level.label
        )

    @admin.display(description=_("parked changes"))
    def parked_field(self, row: Any) -> str:
        """Logged changes whose item was not found, with a link to them."""
        text = texts.parked(row.health)
        if not row.health.parked and not row.health.unexplained:
            return text
        address = list_url("parkedchange", connection__exact=row.alias)
        return format_html('<a href="{}">{}</a>', address, text)

    @admin.display(description=_("unlogged changes"))
    def unlogged_field(self, row: Any) -> str:
        """The newest changes without a row in the activity log."""
        help_text = _("Changes that the WebSocket announced and the activity log does not have.")
        return with_quiet(linebreaksbr("\n".join(texts.unlogged(row.health)) or "–"), help_text)

    @admin.display(description=_("state"))
    def state_column(self, row: ConnectionStatus) -> str:
        """The current state."""
        return format_html(
            '<span class="directus-state directus-state-{}" title="{}">{}</span>',
            row.current_state,
            row.current_reason,
            texts.state_label(row.current_state),
        )

    @admin.display(description=_("what to look at"))
    def attention_field(self, row: Any) -> str:
        """Problems, as ``directus_status`` prints them; else the reason of the state."""
        return texts.attention(row.health) or row.current_reason or "–"

    @admin.display(description=_("since"), ordering="changed_at")
    def since_column(self, row: ConnectionStatus) -> str:
        """Begin of the state; without a listener, its last heartbeat."""
        return to_the_second(row.changed_at if row.has_listener else row.heartbeat_at)

    @admin.display(description=_("complete until"))
    def complete_field(self, row: ConnectionStatus) -> str:
        """Time up to which nothing is unaccounted for, with an explanation."""
        moment = to_the_second(row.complete_until) if row.complete_until else "–"
        return with_quiet(moment, ConnectionStatus.complete_until.field.help_text)


@admin.register(ListenerProcess)
class ListenerProcessAdmin(ReadOnlyAdmin):
    """The processes of ``directus_listen``, with their roles."""

    empty_text = NO_LISTENER
    list_display = ("host", "pid", "connections_column", "role_column", "heartbeat_column")
    fields = (
        *("host", "pid", "connections_column", "role_column"),
        *("started_field", "heartbeat_column", "problems_field"),
    )
    ordering = ("role", "host", "pid")

    started_field = time_field("started_at", _("started"))
    heartbeat_column = time_field("heartbeat_at", _("heartbeat"))

    @admin.display(description=_("connections"))
    def connections_column(self, row: ListenerProcess) -> str:
        """The aliases of its connections."""
        return ", ".join(row.aliases)

    @admin.display(description=_("role"), ordering="role")
    def role_column(self, row: ListenerProcess) -> str:
        """The current role; a process that was killed leaves its row behind."""
        if not row.is_alive:
            return state_html("gone", _("gone"))
        return state_html(row.role, ListenerRole(row.role).label)

    @admin.display(description=_("problems"))
    def problems_field(self, row: ListenerProcess) -> str:
        """Why it could not log in during standby, a line for each connection."""
        return "\n".join(f"{alias}: {text}" for alias, text in row.problems.items()) or "–"


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
