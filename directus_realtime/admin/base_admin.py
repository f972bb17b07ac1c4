"""Base classes of the admin's pages, and the texts and links that they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone, translation
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from directus_realtime.models import InboxEvent
from directus_realtime.settings import connection_settings

# Only the stubs know the class as generic.
if TYPE_CHECKING:
    AnyAdmin = admin.ModelAdmin[Any]
else:
    AnyAdmin = admin.ModelAdmin

ACTION_LABELS: dict[str, Any] = {
    "create": _("create"),
    "update": _("update"),
    "delete": _("delete"),
}
ORIGIN_LABELS: dict[str, Any] = {
    "live": _("live"),
    "catch-up": _("catch-up"),
    "snapshot": _("first load"),
    "replay": _("replay"),
}


def to_the_second(moment: datetime) -> str:
    """A time in the current time zone, to the second."""
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S}"


def wrapping_time(moment: datetime) -> SafeString:
    """A time to the second that may wrap into two lines in a narrow column."""
    day, time = to_the_second(moment).split()
    return format_html(
        '<span class="directus-when">{}</span> <span class="directus-when">{}</span>', day, time
    )


def time_field(
    name: str, description: Any, show: Callable[[datetime], str] = to_the_second
) -> Callable[[Any, Any], str]:
    """Return a display method for a time of a row; ``–`` where there is none."""

    @admin.display(description=description, ordering=name)
    def field(model_admin: Any, row: Any) -> str:
        moment = getattr(row, name)
        return show(moment) if moment else "–"

    return field


def with_quiet(text: Any, quiet: Any) -> SafeString:
    """A cell of a list: a text, with a small one below it."""
    if not quiet:
        return format_html("{}", text)
    return format_html('{}<span class="directus-quiet">{}</span>', text, quiet)


def state_html(state: str, label: Any) -> SafeString:
    """A state as a coloured dot with words."""
    return format_html('<span class="directus-state directus-state-{}">{}</span>', state, label)


def parse_keys(text: str) -> list[int]:
    """The primary keys in the address of a page; anything else is left out."""
    keys = [key for key in text.split(",") if key.isascii() and key.isdecimal()]
    return [int(key) for key in keys if len(key) < 19]


def log_action(request: HttpRequest, rows: Sequence[Any], message: Any, flag: int = CHANGE) -> None:
    """Write an action into Django's log, in the language of the project.

    Args:
        rows: Rows of one model that the action was applied to.
        message: A sentence, lazy where it is translated.
        flag: Of :mod:`django.contrib.admin.models`.
    """
    if rows:
        with translation.override(settings.LANGUAGE_CODE):
            text = str(message)
        LogEntry.objects.log_actions(request.user.pk, rows, flag, text)  # type: ignore[arg-type]


def list_url(model: str, **query: str) -> str:
    """The address of the list of a model, filtered by a query."""
    return f"{reverse(f'admin:directus_realtime_{model}_changelist')}?{urlencode(query)}"


def require(allowed: bool) -> None:
    """Raise ``PermissionDenied`` unless the user is allowed."""
    if not allowed:
        raise PermissionDenied


class DirectusAdmin(AnyAdmin):
    """Base of the pages.

    Attributes:
        empty_text: Sentence for a list without rows.
    """

    empty_text: Any = ""
    empty_value_display = "–"

    class Media:
        css = {"all": ("directus_realtime/admin.css",)}

    def views(self) -> list[tuple[str, str, Callable[..., HttpResponse]]]:
        """Additional views: route, name of the URL, and view."""
        return []

    def own_urls(self) -> list[URLPattern]:
        """The URLs of :meth:`views`."""
        return [
            path(route, self.admin_site.admin_view(view), name=self._url_name(name))
            for route, name, view in self.views()
        ]

    def get_urls(self) -> list[URLPattern]:
        """The additional URLs, then Django's."""
        return [*self.own_urls(), *super().get_urls()]

    def url(self, name: str, *args: Any) -> str:
        """The address of a view of this model."""
        return reverse(f"admin:{self._url_name(name)}", args=args)

    def _url_name(self, name: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{name}"

    def page_context(self, request: HttpRequest, title: str, **values: Any) -> dict[str, Any]:
        """The context of a page that is not one of Django's."""
        context = self.admin_site.each_context(request)
        return {**context, "opts": self.opts, "media": self.media, "title": title, **values}


class ReadOnlyAdmin(DirectusAdmin):
    """Rows that the listener writes; Django shows every field of them as text."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Always ``False``."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Always ``False``; ``view`` is the permission to see a row."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Always ``False``."""
        return False


#: The pages of the Data Studio for system collections; the others have none.
_SYSTEM_PAGES = {
    "directus_dashboards": "insights",
    "directus_files": "files",
    "directus_flows": "settings/flows",
    "directus_folders": "files/folders",
    "directus_policies": "settings/policies",
    "directus_presets": "settings/presets",
    "directus_roles": "settings/roles",
    "directus_translations": "settings/translations",
    "directus_users": "users",
}


def data_studio_url(row: InboxEvent) -> str:
    """The page of an event's item in Directus Data Studio; empty where there is none.

    A deleted item has none, nor have those of most system collections.
    """
    if row.collection.startswith("directus_"):
        page = _SYSTEM_PAGES.get(row.collection, "")
    else:
        page = f"content/{quote(row.collection, safe='')}"
    if not page or row.action == "delete":
        return ""
    try:
        url = connection_settings(row.connection).url
        key = quote(str(row.key), safe="")
    except (ImproperlyConfigured, ValueError):
        return ""
    return f"{url}/admin/{page}/{key}"
