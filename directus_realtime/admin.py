"""The admin: what to listen to, and how it stands."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from directus_realtime.health import Limits, gather
from directus_realtime.models import (
    HEARTBEAT_LIMIT,
    ConnectionStatus,
    DirectusSubscription,
    InboxEvent,
    InboxState,
    ListenerProcess,
    ListenerRole,
    SubscriptionState,
)
from directus_realtime.protocol.messages import ACTIONS
from directus_realtime.protocol.redaction import storable
from directus_realtime.settings import aliases

# Only the stubs know these classes as generic.
if TYPE_CHECKING:
    _SubscriptionForm = forms.ModelForm[DirectusSubscription]
    _SubscriptionAdmin = admin.ModelAdmin[DirectusSubscription]
    _AnyAdmin = admin.ModelAdmin[Any]
else:
    _SubscriptionForm = forms.ModelForm
    _SubscriptionAdmin = _AnyAdmin = admin.ModelAdmin


NO_LISTENER = _("No listener is running. Start it: python manage.py directus_listen")


def listener_advice(connection: str) -> str:
    """What happens next with a saved subscription, as a sentence."""
    status = ConnectionStatus.objects.filter(alias=connection).first()
    if status is not None and status.has_listener:
        return gettext("The listener takes it up within 2 seconds.")
    return str(NO_LISTENER)


def to_the_second(moment: datetime) -> str:
    """A time as the lists show it, in the current time zone."""
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S}"


class DirectusSubscriptionForm(_SubscriptionForm):
    """Offers the configured connections; an empty filter or field list means none."""

    class Meta:
        model = DirectusSubscription
        exclude = ()
        widgets = {
            "filter": forms.Textarea(attrs={"rows": 4, "cols": 60, "spellcheck": "false"}),
            "fields": forms.Textarea(attrs={"rows": 2, "cols": 60, "spellcheck": "false"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "connection" in self.fields:
            known = list(dict.fromkeys([*aliases(), self.instance.connection]))
            self.fields["connection"].widget = forms.Select(choices=[(a, a) for a in known])

    def clean_filter(self) -> Any:
        """An emptied filter is no filter."""
        value = self.cleaned_data.get("filter")
        return {} if value is None else value

    def clean_fields(self) -> Any:
        """An emptied list is no list."""
        value = self.cleaned_data.get("fields")
        return [] if value is None else value


@admin.register(DirectusSubscription)
class DirectusSubscriptionAdmin(_SubscriptionAdmin):
    """What to listen to. Rows declared in code are shown and cannot be changed."""

    form = DirectusSubscriptionForm
    list_display = (
        "name",
        "collection",
        "listed_actions",
        "listed_state",
        "listed_last_event",
        "event_count",
        "listed_source",
    )
    list_filter = ("enabled", "state", "connection", "collection")
    search_fields = ("name", "collection")
    actions = ("enable", "disable")
    readonly_fields = (
        "listed_state",
        "last_error",
        "last_event_at",
        "event_count",
        "shown_load",
        "declared_in",
    )
    fieldsets = (
        (None, {"fields": ("name", "enabled", "connection", "collection")}),
        (_("What to listen to"), {"fields": (("on_create", "on_update", "on_delete"),)}),
        (_("Which items, and what of them"), {"fields": ("filter", "fields", "item")}),
        (_("How to deliver it"), {"fields": ("snapshot", ("debounce", "debounce_by"), "group")}),
        (
            _("State"),
            {
                "fields": (
                    "listed_state",
                    "last_error",
                    "last_event_at",
                    "event_count",
                    "shown_load",
                    "declared_in",
                )
            },
        ),
    )

    class Media:
        css = {"all": ("directus_realtime/admin.css",)}

    @admin.display(description=_("last event"), ordering="last_event_at")
    def listed_last_event(self, row: DirectusSubscription) -> str:
        """When the last event came in, to the second."""
        return to_the_second(row.last_event_at) if row.last_event_at else "–"

    @admin.display(description=_("declared"), ordering="declared_in")
    def listed_source(self, row: DirectusSubscription) -> str:
        """Whether the row was made here or in code."""
        return gettext("in code") if row.declared_in else gettext("here")

    @admin.display(description=_("first load"))
    def shown_load(self, row: DirectusSubscription) -> str:
        """How far the first load is."""
        if not row.snapshot_total:
            return "–"
        return gettext("%(done)s of %(total)s items") % {
            "done": row.snapshot_done,
            "total": row.snapshot_total,
        }

    @admin.display(description=_("actions"))
    def listed_actions(self, row: DirectusSubscription) -> str:
        """The wanted actions."""
        if row.actions == ACTIONS:
            return gettext("all")
        names = {"create": _("create"), "update": _("update"), "delete": _("delete")}
        return ", ".join(str(names[action]) for action in row.actions)

    @admin.display(description=_("state"), ordering="state")
    def listed_state(self, row: DirectusSubscription) -> str:
        """The state as it is now, and why."""
        state, label, reason = self._state(row)
        shown = format_html(
            '<span class="directus-state directus-state-{}">{}</span>', state, label
        )
        if reason:
            shown += format_html(
                '<span class="directus-reason" title="{}">{}</span>', reason, reason
            )
        return shown

    @staticmethod
    def _state(row: DirectusSubscription) -> tuple[str, Any, Any]:
        if not row.enabled:
            return "paused", _("paused"), ""
        if not getattr(row, "has_listener", False):
            return "waiting", _("no listener"), NO_LISTENER
        return row.state, SubscriptionState(row.state).label, row.last_error

    def get_fieldsets(self, request: HttpRequest, obj: DirectusSubscription | None = None) -> Any:
        """A new row has no state yet."""
        fieldsets = super().get_fieldsets(request, obj)
        return fieldsets if obj else fieldsets[:-1]

    def get_queryset(self, request: HttpRequest) -> QuerySet[DirectusSubscription]:
        """The rows, each with whether its connection has a listener now."""
        alive = ConnectionStatus.objects.filter(
            alias=OuterRef("connection"), heartbeat_at__gt=timezone.now() - HEARTBEAT_LIMIT
        )
        return super().get_queryset(request).annotate(has_listener=Exists(alive))

    def has_change_permission(
        self, request: HttpRequest, obj: DirectusSubscription | None = None
    ) -> bool:
        """Rows declared in code are changed in code."""
        is_declared = obj is not None and bool(obj.declared_in)
        return not is_declared and super().has_change_permission(request, obj)

    def has_delete_permission(
        self, request: HttpRequest, obj: DirectusSubscription | None = None
    ) -> bool:
        """Rows declared in code are deleted in code."""
        is_declared = obj is not None and bool(obj.declared_in)
        return not is_declared and super().has_delete_permission(request, obj)

    def response_add(
        self, request: HttpRequest, obj: DirectusSubscription, post_url_continue: Any = None
    ) -> Any:
        """Say what happens next."""
        response = super().response_add(request, obj, post_url_continue)
        self._say_what_is_next(request, obj)
        return response

    def response_change(self, request: HttpRequest, obj: DirectusSubscription) -> Any:
        """Say what happens next."""
        response = super().response_change(request, obj)
        self._say_what_is_next(request, obj)
        return response

    def _say_what_is_next(self, request: HttpRequest, obj: DirectusSubscription) -> None:
        if obj.enabled:
            self.message_user(request, listener_advice(obj.connection), messages.INFO)

    @admin.action(description=_("Enable the selected subscriptions"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[DirectusSubscription]) -> None:
        """Have them listened to."""
        self._switch(request, queryset, True)

    @admin.action(description=_("Disable the selected subscriptions"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[DirectusSubscription]) -> None:
        """Have them no longer listened to."""
        self._switch(request, queryset, False)

    def _switch(
        self, request: HttpRequest, queryset: QuerySet[DirectusSubscription], enabled: bool
    ) -> None:
        # The listener compares all rows with what is active, so update() is enough.
        changed = queryset.filter(declared_in="").update(enabled=enabled)
        if enabled:
            text = ngettext(
                "%(count)d subscription is enabled.",
                "%(count)d subscriptions are enabled.",
                changed,
            )
        else:
            text = ngettext(
                "%(count)d subscription is disabled.",
                "%(count)d subscriptions are disabled.",
                changed,
            )
        self.message_user(request, text % {"count": changed}, messages.SUCCESS)
        if skipped := queryset.exclude(declared_in="").count():
            text = ngettext(
                "%(count)d subscription is declared in code and was left as it is.",
                "%(count)d subscriptions are declared in code and were left as they are.",
                skipped,
            )
            self.message_user(request, text % {"count": skipped}, messages.WARNING)


class ReadOnlyAdmin(_AnyAdmin):
    """Rows that the listener writes and people read."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds one."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes one; ``view`` is what it takes to see it."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes one."""
        return False


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
