"""The pages of the subscriptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST

from directus_realtime.admin.base_admin import keys_of, to_the_second, with_quiet, wrapping_time
from directus_realtime.admin.form_assist import page_data, schema_answer, try_answer
from directus_realtime.admin.forms import DirectusSubscriptionForm, script
from directus_realtime.admin.subscription_actions import SubscriptionActions
from directus_realtime.admin.subscription_status import (
    NO_LISTENER,
    attach_statuses,
    dead_html,
    hour_html,
    state_html,
)
from directus_realtime.models import (
    HEARTBEAT_LIMIT,
    ConnectionStatus,
    DirectusSubscription,
    SubscriptionState,
)
from directus_realtime.protocol.messages import ACTIONS
from directus_realtime.subscriptions import declared_at

PAUSED, UNATTENDED = "paused", "no-listener"


class StateFilter(admin.SimpleListFilter):
    """By state as the list shows it; its rows say whether they have a listener."""

    title = _("state")
    parameter_name = "state__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """What the listener says of a subscription, and why it may say nothing."""
        return [
            *SubscriptionState.choices,
            (PAUSED, _("paused")),
            (UNATTENDED, _("no listener")),
        ]

    # The stubs do not know what the list adds to its rows.
    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows that the list shows with the state."""
        state = self.value()
        if state is None:
            return queryset
        if state == PAUSED:
            return queryset.filter(enabled=False)
        if state == UNATTENDED:
            return queryset.filter(enabled=True, has_listener=False)
        return queryset.filter(state=state, enabled=True, has_listener=True)


#: Other subscriptions that are named.
_NAMED = 3


def listener_advice(connection: str) -> str:
    """What happens next with a saved subscription, as a sentence."""
    status = ConnectionStatus.objects.filter(alias=connection).first()
    if status is not None and status.has_listener:
        return gettext("The listener takes it up within 2 seconds.")
    return str(NO_LISTENER)


def others_note(row: DirectusSubscription) -> str:
    """Which others bring the same changes to the same receivers; empty where none does."""
    same = DirectusSubscription.objects.filter(
        connection=row.connection, collection=row.collection, enabled=True
    )
    others = [
        other.name
        for other in same.exclude(pk=row.pk).order_by("name")
        if set(other.actions) & set(row.actions)
    ]
    if not row.enabled or not others:
        return ""
    text = ngettext(
        "Another subscription has this collection, too: %(names)s. The receivers of "
        "%(collection)s are called for each of them that wants a change; event.subscription "
        "tells a receiver which one it is.",
        "Other subscriptions have this collection, too: %(names)s. The receivers of "
        "%(collection)s are called for each of them that wants a change; event.subscription "
        "tells a receiver which one it is.",
        len(others),
    )
    names = ", ".join(others[:_NAMED]) + (", …" if len(others) > _NAMED else "")
    return text % {"names": names, "collection": row.collection}


# Only the stubs know the class as generic.
if TYPE_CHECKING:
    _SubscriptionAdmin = admin.ModelAdmin[DirectusSubscription]
else:
    _SubscriptionAdmin = admin.ModelAdmin

#: Rows whose state one request of the list may ask for: as many as Django shows on one page.
_MOST_LIVE_ROWS = 200

_ACTIONS = {"create": _("create"), "update": _("update"), "delete": _("delete")}


@admin.register(DirectusSubscription)
class DirectusSubscriptionAdmin(SubscriptionActions, _SubscriptionAdmin):
    """What to listen to. Rows declared in code are shown and cannot be changed."""

    empty_text = _("Nothing is listened to yet. Add a subscription, or declare some in code.")
    empty_value_display = "–"
    form = DirectusSubscriptionForm
    change_form_template = "admin/directus_realtime/subscription_form.html"
    list_display = (
        "listed_name",
        "listed_collection",
        "listed_state",
        "listed_hour",
        "listed_dead",
        "listed_last_event",
    )
    list_display_links = ("listed_name",)
    list_filter = (StateFilter, "connection", "collection")
    search_fields = ("name", "collection")
    list_per_page = 50
    actions = ("enable", "disable", "test", "load", "replay_since", "duplicate")
    readonly_fields = (
        "listed_state",
        "last_error",
        "shown_last_event",
        "event_count",
        "listed_hour",
        "listed_dead",
        "shown_load",
        "shown_source",
    )
    fieldsets = (
        (None, {"fields": ("name", "enabled", "connection", "collection")}),
        (_("What to listen to"), {"fields": (("on_create", "on_update", "on_delete"),)}),
        (_("Which items, and what of them"), {"fields": ("filter", "fields", "item")}),
        (_("How to deliver it"), {"fields": ("snapshot", ("debounce", "debounce_by"), "group")}),
        (
            _("Browsers"),
            {"fields": ("browser_access", "browser_permission", "browser_first_load")},
        ),
        (_("State"), {"fields": readonly_fields}),
    )

    class Media:
        css = {"all": ("directus_realtime/admin.css", "directus_realtime/subscription.css")}
        js = (script("list"),)

    # What the list and the form show

    @admin.display(description=_("last event, all events"), ordering="last_event_at")
    def listed_last_event(self, row: DirectusSubscription) -> str:
        """When the last event came in, to the second, and how many there were ever."""
        moment = wrapping_time(row.last_event_at) if row.last_event_at else "–"
        text = ngettext("%(count)s event", "%(count)s events", row.event_count)
        count = number_format(row.event_count, force_grouping=True)
        return with_quiet(moment, text % {"count": count} if row.event_count else "")

    @admin.display(description=_("last event"))
    def shown_last_event(self, row: DirectusSubscription) -> str:
        """When the last event came in, to the second."""
        return to_the_second(row.last_event_at) if row.last_event_at else "–"

    @admin.display(description=_("last hour"))
    def listed_hour(self, row: Any) -> SafeString:
        """Events of the last hour, as bars."""
        return hour_html(row.standing)

    @admin.display(description=_("dead letters"))
    def listed_dead(self, row: Any) -> SafeString:
        """Events that were given up, with a link to them."""
        return dead_html(row.standing)

    @admin.display(description=_("declared"))
    def shown_source(self, row: DirectusSubscription) -> str:
        """Where in code the row comes from."""
        if not row.declared_in:
            return gettext("here")
        return format_html("<code>{}</code>", declared_at(row.name) or row.declared_in)

    @admin.display(description=_("first load"))
    def shown_load(self, row: DirectusSubscription) -> str:
        """How far the first load is."""
        if not row.snapshot_total:
            return "–"
        text = ngettext(
            "%(done)s of %(total)s item", "%(done)s of %(total)s items", row.snapshot_total
        )
        return text % {"done": row.snapshot_done, "total": row.snapshot_total}

    @admin.display(description=_("name"), ordering="name")
    def listed_name(self, row: DirectusSubscription) -> SafeString:
        """The name, and whether it is declared in code."""
        return with_quiet(row.name, gettext("in code") if row.declared_in else "")

    @admin.display(description=_("collection"), ordering="collection")
    def listed_collection(self, row: DirectusSubscription) -> SafeString:
        """The collection, and the wanted actions where it is not all of them."""
        wanted = () if row.actions == ACTIONS else row.actions
        return with_quiet(row.collection, ", ".join(str(_ACTIONS[action]) for action in wanted))

    @admin.display(description=_("state"), ordering="state")
    def listed_state(self, row: DirectusSubscription) -> SafeString:
        """The state as it is now, and why; the page finds its row by the key."""
        return format_html('<div data-directus-row="{}">{}</div>', row.pk, state_html(row))

    def get_fieldsets(self, request: HttpRequest, obj: DirectusSubscription | None = None) -> Any:
        """A new row has no state yet."""
        fieldsets = super().get_fieldsets(request, obj)
        return fieldsets if obj else fieldsets[:-1]

    # Which rows

    def get_queryset(self, request: HttpRequest) -> QuerySet[DirectusSubscription]:
        """The rows, each with whether its connection has a listener now."""
        alive = ConnectionStatus.objects.filter(
            alias=OuterRef("connection"), heartbeat_at__gt=timezone.now() - HEARTBEAT_LIMIT
        )
        return super().get_queryset(request).annotate(has_listener=Exists(alive))

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The rows of the page, each with how it stands."""
        changelist = super().get_changelist_instance(request)
        rows = list(changelist.result_list)
        attach_statuses(request, rows)
        changelist.result_list = rows
        return changelist

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> DirectusSubscription | None:
        """The row, with how it stands."""
        row: DirectusSubscription | None = super().get_object(request, object_id, from_field)
        if row is not None:
            attach_statuses(request, [row])
        return row

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

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[Any, int], set[Any], list[Any]]:
        """What goes with a delete: the rows alone.

        What is remembered of their items goes, too, and may be a hundred thousand rows of digests,
        which nobody wants to read.
        """
        rows = list(objs)
        declared = gettext("%(name)s, which is declared in code")
        kept = {declared % {"name": row.name} for row in rows if row.declared_in}
        if not super().has_delete_permission(request):
            kept = {str(self.opts.verbose_name)}
        return [row.name for row in rows], {self.opts.verbose_name_plural: len(rows)}, kept, []

    # What happens next

    def response_add(
        self, request: HttpRequest, obj: DirectusSubscription, post_url_continue: Any = None
    ) -> Any:
        """Say what happens next."""
        response = super().response_add(request, obj, post_url_continue)
        self._say_what_is_next(request, obj)
        if text := others_note(obj):
            self.message_user(request, text, messages.INFO)
        return response

    def response_change(self, request: HttpRequest, obj: DirectusSubscription) -> Any:
        """Say what happens next."""
        response = super().response_change(request, obj)
        self._say_what_is_next(request, obj)
        return response

    def _say_what_is_next(self, request: HttpRequest, obj: DirectusSubscription) -> None:
        if obj.enabled:
            self.message_user(request, listener_advice(obj.connection), messages.INFO)

    # What the pages ask for while they are open

    def get_urls(self) -> Any:
        """Schema and try of the form, states of the list, and the page of a replay."""
        views = {
            "schema": require_POST(self.schema_view),
            "try": require_POST(self.try_view),
            "live": require_GET(self.live_view),
            "replay": self.replay_view,
        }
        own = [
            path(
                f"{name}/",
                self.admin_site.admin_view(view),
                name=f"directus_realtime_directussubscription_{name}",
            )
            for name, view in views.items()
        ]
        return own + super().get_urls()

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """With what the page's script needs, for who may use it."""
        if self._is_editor(request):
            prefix = "admin:directus_realtime_directussubscription"
            urls = {name: reverse(f"{prefix}_{name}") for name in ("schema", "try")}
            context["directus_form"] = page_data(urls)
        return super().render_change_form(request, context, *args, **kwargs)

    def schema_view(self, request: HttpRequest) -> HttpResponse:
        """The collections and fields of a connection; with ``anew``, not from the cache.

        A POST, because it makes this server ask another one.
        """
        self._demand_editor(request)
        return JsonResponse(
            schema_answer(request.POST.get("connection", ""), anew="anew" in request.POST)
        )

    def try_view(self, request: HttpRequest) -> HttpResponse:
        """The items that the form as it stands would match now; nothing is saved."""
        self._demand_editor(request)
        form = self.get_form(request)(request.POST)
        return JsonResponse(try_answer(form))

    def live_view(self, request: HttpRequest) -> HttpResponse:
        """How some rows of the list stand now, as the HTML of their cells."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        keys = keys_of(request.GET.get("ids", ""))[:_MOST_LIVE_ROWS]
        rows = list(self.get_queryset(request).filter(pk__in=keys))
        attach_statuses(request, rows)
        cells = ("listed_state", "listed_last_event", "listed_hour", "listed_dead")
        answer = {row.pk: {cell: str(getattr(self, cell)(row)) for cell in cells} for row in rows}
        return JsonResponse({"rows": answer})

    def _demand_editor(self, request: HttpRequest) -> None:
        """What the token of a connection may read is for who may make subscriptions."""
        if not self._is_editor(request):
            raise PermissionDenied

    def _is_editor(self, request: HttpRequest) -> bool:
        return self.has_add_permission(request) or self.has_change_permission(request)
