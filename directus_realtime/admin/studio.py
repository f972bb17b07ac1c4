"""Where an item is edited in Directus itself."""

from __future__ import annotations

from urllib.parse import quote

from django.core.exceptions import ImproperlyConfigured

from directus_realtime.models import InboxEvent
from directus_realtime.settings import connection_settings

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
