"""The pages of the subscriptions: what to listen to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from directus_realtime.admin.forms import DirectusSubscriptionForm
from directus_realtime.admin.shared import to_the_second
from directus_realtime.models import (
    HEARTBEAT_LIMIT,
    ConnectionStatus,
    DirectusSubscription,
    SubscriptionState,
)
from directus_realtime.protocol.messages import ACTIONS

# Only the stubs know the class as generic.
if TYPE_CHECKING:
    _SubscriptionAdmin = admin.ModelAdmin[DirectusSubscription]
else:
    _SubscriptionAdmin = admin.ModelAdmin


NO_LISTENER = _("No listener is running. Start it: python manage.py directus_listen")


def listener_advice(connection: str) -> str:
    """What happens next with a saved subscription, as a sentence."""
    status = ConnectionStatus.objects.filter(alias=connection).first()
    if status is not None and status.has_listener:
        return gettext("The listener takes it up within 2 seconds.")
    return str(NO_LISTENER)


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
