"""Base classes and helpers of the admin's pages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.utils import timezone, translation
from django.utils.html import format_html
from django.utils.safestring import SafeString

from directus_realtime.models import InboxEvent
from directus_realtime.settings import connection_settings

# Only the stubs know the class as generic.
if TYPE_CHECKING:
    AnyAdmin = admin.ModelAdmin[Any]
else:
    AnyAdmin = admin.ModelAdmin


def to_the_second(moment: datetime) -> str:
    """A time as the lists show it, in the current time zone."""
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S}"


def wrapping_time(moment: datetime) -> SafeString:
    """The same for a narrow column, where it may take two lines."""
    day, time = to_the_second(moment).split()
    return format_html(
        '<span class="directus-when">{}</span> <span class="directus-when">{}</span>', day, time
    )


def with_quiet(text: Any, quiet: Any) -> SafeString:
    """A cell of a list: a text, and below it another one that is small and quiet."""
    if not quiet:
        return format_html("{}", text)
    return format_html('{}<span class="directus-quiet">{}</span>', text, quiet)


def keys_of(text: str) -> list[int]:
    """The primary keys in the address of a page; what cannot be one is left out."""
    keys = [key for key in text.split(",") if key.isascii() and key.isdecimal()]
    return [int(key) for key in keys if len(key) < 19]


def log_action(request: HttpRequest, rows: Sequence[Any], what: Any, flag: int = CHANGE) -> None:
    """Write who did what into Django's own log, in the language of the project.

    Args:
        rows: What it was done with, all of one model.
        what: As a sentence, lazy where it is translated.
        flag: Of :mod:`django.contrib.admin.models`.
    """
    if rows:
        with translation.override(settings.LANGUAGE_CODE):
            text = str(what)
        LogEntry.objects.log_actions(request.user.pk, rows, flag, text)  # type: ignore[arg-type]


class ReadOnlyAdmin(AnyAdmin):
    """Rows that the listener writes and people read.

    Attributes:
        empty_text: What is said where there are no rows at all.
    """

    empty_text: Any = ""
    empty_value_display = "–"

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds one."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes one; ``view`` is what it takes to see it."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes one."""
        return False


#: The pages of the Data Studio for system collections; the others have none.
_SYSTEM = {
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


def studio_url(row: InboxEvent) -> str:
    """The page of an event's item in Directus Data Studio; empty where there is none.

    A deleted item has none, nor have those of most system collections.
    """
    if row.collection.startswith("directus_"):
        path = _SYSTEM.get(row.collection, "")
    else:
        path = f"content/{quote(row.collection, safe='')}"
    if not path or row.action == "delete":
        return ""
    try:
        url = connection_settings(row.connection).url
        key = quote(str(row.key), safe="")
    except (ImproperlyConfigured, ValueError):
        return ""
    return f"{url}/admin/{path}/{key}"
