"""The pages of the subscriptions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST

from directus_realtime.admin.base_admin import (
    ACTION_LABELS,
    parse_keys,
    require,
    time_field,
    with_quiet,
    wrapping_time,
)
from directus_realtime.admin.form_assist import page_data, schema_answer, try_answer
from directus_realtime.admin.forms import DirectusSubscriptionForm, script
from directus_realtime.admin.subscription_actions import SubscriptionActions
from directus_realtime.admin.subscription_status import (
    NO_LISTENER,
    attach_statuses,
    dead_html,
    hour_html,
    subscription_state_html,
)
from directus_realtime.models import (
    HEARTBEAT_LIMIT,
    ConnectionStatus,
    DirectusSubscription,
    SubscriptionState,
)
from directus_realtime.protocol.messages import ACTIONS
from directus_realtime.subscriptions import declared_at

_PAUSED, _NO_LISTENER, _ORPHANED = "paused", "no-listener", "orphaned"


class StateFilter(admin.SimpleListFilter):
    """Filter by the state that the list shows."""

    title = _("state")
    parameter_name = "state__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The states of the model, and those that the list adds."""
        return [
            *SubscriptionState.choices,
            (_PAUSED, _("paused")),
            (_NO_LISTENER, _("no listener")),
            (_ORPHANED, _("no longer declared")),
        ]

    # The stubs do not know what the list adds to its rows.
    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows that the list shows with the state."""
        state = self.value()
        if state is None:
            return queryset
        if state == _PAUSED:
            return queryset.filter(enabled=False)
        if state == _ORPHANED:
            return queryset.exclude(orphaned_at=None)
        followed = queryset.filter(enabled=True, orphaned_at=None)
        if state == _NO_LISTENER:
            return followed.filter(has_listener=False)
        return followed.filter(state=state, has_listener=True)


#: Maximum number of other subscriptions that a note names.
_NAMED = 3


def listener_advice(connection: str) -> str:
    """A sentence on when the listener applies a saved subscription."""
    status = ConnectionStatus.objects.filter(alias=connection).first()
    if status is not None and status.has_listener:
        return gettext("The listener takes it up within 2 seconds.")
    return str(NO_LISTENER)


def others_note(row: DirectusSubscription) -> str:
    """A note on other subscriptions with the same changes; empty where there are none."""
    same = DirectusSubscription.objects.followed().filter(
        connection=row.connection, collection=row.collection
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


def _is_declared(row: DirectusSubscription) -> bool:
    """Whether a row has its declaration in the code of the listener."""
    return bool(row.declared_in) and row.orphaned_at is None


#: Maximum number of rows that are updated at a time: as many as Django shows on one page.
_MOST_LIVE_ROWS = 200


@admin.register(DirectusSubscription)
class DirectusSubscriptionAdmin(SubscriptionActions):
    """The subscriptions. Those declared in code are shown and cannot be changed."""

    empty_text = _("Nothing is listened to yet. Add a subscription, or declare some in code.")
    form = DirectusSubscriptionForm
    change_form_template = "admin/directus_realtime/subscription_form.html"
    list_display = (
        "name_column",
        "collection_column",
        "state_column",
        "hour_column",
        "dead_column",
        "last_event_column",
    )
    list_display_links = ("name_column",)
    list_filter = (StateFilter, "connection", "collection")
    search_fields = ("name", "collection")
    list_per_page = 50
    actions = ("enable", "disable", "test", "load", "replay_since", "duplicate")
    readonly_fields = (
        "state_column",
        "last_error",
        "last_event_field",
        "event_count",
        "hour_column",
        "dead_column",
        "load_field",
        "source_field",
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
        css = {"all": ("directus_realtime/subscription.css",)}
        js = (script("list"),)

    # Columns and fields

    last_event_field = time_field("last_event_at", _("last event"))

    @admin.display(description=_("last event, all events"), ordering="last_event_at")
    def last_event_column(self, row: DirectusSubscription) -> str:
        """The time of the last event, and the number of all events below it."""
        moment = wrapping_time(row.last_event_at) if row.last_event_at else "–"
        text = ngettext("%(count)s event", "%(count)s events", row.event_count)
        count = number_format(row.event_count, force_grouping=True)
        return with_quiet(moment, text % {"count": count} if row.event_count else "")

    @admin.display(description=_("last hour"))
    def hour_column(self, row: Any) -> SafeString:
        """Events of the last hour, as bars."""
        return hour_html(row.status)

    @admin.display(description=_("dead letters"))
    def dead_column(self, row: Any) -> SafeString:
        """Number of dead letters, with a link to them."""
        return dead_html(row.status)

    @admin.display(description=_("declared"))
    def source_field(self, row: DirectusSubscription) -> str:
        """The place of its declaration in code."""
        if not row.declared_in:
            return gettext("here")
        return format_html("<code>{}</code>", declared_at(row.name) or row.declared_in)

    @admin.display(description=_("first load"))
    def load_field(self, row: DirectusSubscription) -> str:
        """Progress of the first load."""
        if not row.snapshot_total:
            return "–"
        text = ngettext(
            "%(done)s of %(total)s item", "%(done)s of %(total)s items", row.snapshot_total
        )
        return text % {"done": row.snapshot_done, "total": row.snapshot_total}

    @admin.display(description=_("name"), ordering="name")
    def name_column(self, row: DirectusSubscription) -> SafeString:
        """The name, and whether it is declared in code."""
        return with_quiet(row.name, gettext("in code") if row.declared_in else "")

    @admin.display(description=_("collection"), ordering="collection")
    def collection_column(self, row: DirectusSubscription) -> SafeString:
        """The collection, and the actions below it where not all are chosen."""
        wanted = () if row.actions == ACTIONS else row.actions
        return with_quiet(
            row.collection, ", ".join(str(ACTION_LABELS[action]) for action in wanted)
        )

    @admin.display(description=_("state"), ordering="state")
    def state_column(self, row: DirectusSubscription) -> SafeString:
        """The current state and its reason; the script finds the row by the key."""
        state = subscription_state_html(row)
        return format_html('<div data-directus-row="{}">{}</div>', row.pk, state)

    def get_fieldsets(self, request: HttpRequest, obj: DirectusSubscription | None = None) -> Any:
        """The fields; a new row has no state yet."""
        fieldsets = super().get_fieldsets(request, obj)
        return fieldsets if obj else fieldsets[:-1]

    # Rows

    def get_queryset(self, request: HttpRequest) -> QuerySet[DirectusSubscription]:
        """The rows, annotated with ``has_listener``."""
        alive = ConnectionStatus.objects.filter(
            alias=OuterRef("connection"), heartbeat_at__gt=timezone.now() - HEARTBEAT_LIMIT
        )
        rows: QuerySet[DirectusSubscription] = super().get_queryset(request)
        return rows.annotate(has_listener=Exists(alive))

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The page of the list; its rows have a ``status``."""
        changelist = super().get_changelist_instance(request)
        rows = list(changelist.result_list)
        attach_statuses(request, rows)
        changelist.result_list = rows
        return changelist

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> DirectusSubscription | None:
        """The row, with its ``status``."""
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
        """Rows declared in code are deleted in code first."""
        is_declared = obj is not None and _is_declared(obj)
        return not is_declared and super().has_delete_permission(request, obj)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[Any, int], set[Any], list[Any]]:
        """List the subscriptions alone; their digests of items may be a hundred thousand rows."""
        rows = list(objs)
        declared = gettext("%(name)s, which is declared in code")
        kept = {declared % {"name": row.name} for row in rows if _is_declared(row)}
        if not super().has_delete_permission(request):
            kept = {str(self.opts.verbose_name)}
        return [row.name for row in rows], {self.opts.verbose_name_plural: len(rows)}, kept, []

    # Messages

    def response_add(
        self, request: HttpRequest, obj: DirectusSubscription, post_url_continue: Any = None
    ) -> Any:
        """Add a message on when the change takes effect."""
        response = super().response_add(request, obj, post_url_continue)
        self._message_effect(request, obj)
        if text := others_note(obj):
            self.message_user(request, text, messages.INFO)
        return response

    def response_change(self, request: HttpRequest, obj: DirectusSubscription) -> Any:
        """Add a message on when the change takes effect."""
        response = super().response_change(request, obj)
        self._message_effect(request, obj)
        return response

    def _message_effect(self, request: HttpRequest, obj: DirectusSubscription) -> None:
        if obj.enabled:
            self.message_user(request, listener_advice(obj.connection), messages.INFO)

    # Views for the scripts

    def views(self) -> list[tuple[str, str, Callable[..., HttpResponse]]]:
        """Schema and trial read for the form, live updates of the list, and the replay."""
        return [
            ("schema/", "schema", require_POST(self.schema_view)),
            ("try/", "try", require_POST(self.try_view)),
            ("live/", "live", require_GET(self.live_view)),
            ("replay/", "replay", self.replay_view),
        ]

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """The form, with the data of its script for users who may edit."""
        if self._is_editor(request):
            context["directus_form"] = page_data(
                {name: self.url(name) for name in ("schema", "try")}
            )
        return super().render_change_form(request, context, *args, **kwargs)

    def schema_view(self, request: HttpRequest) -> HttpResponse:
        """The collections and fields of a connection; with ``refresh``, not from the cache.

        A POST, because it makes this server send requests to another one.
        """
        require(self._is_editor(request))
        alias = request.POST.get("connection", "")
        return JsonResponse(schema_answer(alias, refresh="refresh" in request.POST))

    def try_view(self, request: HttpRequest) -> HttpResponse:
        """The items that the filled-in form matches now; nothing is saved."""
        require(self._is_editor(request))
        return JsonResponse(try_answer(self.get_form(request)(request.POST)))

    def live_view(self, request: HttpRequest) -> HttpResponse:
        """The current cells of some rows of the list, as HTML."""
        require(self.has_view_permission(request))
        keys = parse_keys(request.GET.get("ids", ""))[:_MOST_LIVE_ROWS]
        rows = list(self.get_queryset(request).filter(pk__in=keys))
        attach_statuses(request, rows)
        cells = ("state_column", "last_event_column", "hour_column", "dead_column")
        answer = {row.pk: {cell: str(getattr(self, cell)(row)) for cell in cells} for row in rows}
        return JsonResponse({"rows": answer})

    def _is_editor(self, request: HttpRequest) -> bool:
        """Whether a user may see data of Directus: only those who may edit subscriptions."""
        return self.has_add_permission(request) or self.has_change_permission(request)
