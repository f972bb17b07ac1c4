"""Subscriptions to Directus's own collections, and the changes of them that it does not send."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from directus_realtime.client.client_subscription import (
    ClientSubscription,
    DebounceBy,
    ErrorCallback,
    EventCallback,
)
from directus_realtime.events import Action, Key

if TYPE_CHECKING:
    from django.db.models import Q


class QueryOptions(TypedDict, total=False):
    """The options of :meth:`DirectusClient.subscribe` but for the events."""

    filter: dict[str, Any] | Q | None
    fields: Iterable[str]
    sort: Iterable[str]
    deep: dict[str, Any] | None
    alias: dict[str, str] | None
    search: str
    item: Key | None
    snapshot: bool
    debounce: float
    debounce_by: DebounceBy
    uid: str | None
    name: str | None
    on_event: EventCallback | None
    on_error: ErrorCallback | None


class SubscribeOptions(QueryOptions, total=False):
    """The options of :meth:`DirectusClient.subscribe`, which describes them."""

    events: Iterable[Action]


Helper = Callable[..., Awaitable[ClientSubscription]]


def _helper(collection: str) -> Helper:
    async def subscribe(self: Any, **options: Unpack[SubscribeOptions]) -> ClientSubscription:
        subscription: ClientSubscription = await self.subscribe(collection, **options)
        return subscription

    subscribe.__name__ = f"subscribe_to_{collection.removeprefix('directus_')}"
    subscribe.__doc__ = f"Like :meth:`DirectusClient.subscribe`, for ``{collection}``."
    return subscribe


class SystemCollections:
    """One helper for each system collection; the options are those of ``subscribe``."""

    subscribe_to_activity = _helper("directus_activity")
    subscribe_to_comments = _helper("directus_comments")
    subscribe_to_dashboards = _helper("directus_dashboards")
    subscribe_to_files = _helper("directus_files")
    subscribe_to_flows = _helper("directus_flows")
    subscribe_to_folders = _helper("directus_folders")
    subscribe_to_notifications = _helper("directus_notifications")
    subscribe_to_operations = _helper("directus_operations")
    subscribe_to_panels = _helper("directus_panels")
    subscribe_to_permissions = _helper("directus_permissions")
    subscribe_to_policies = _helper("directus_policies")
    subscribe_to_presets = _helper("directus_presets")
    subscribe_to_revisions = _helper("directus_revisions")
    subscribe_to_roles = _helper("directus_roles")
    subscribe_to_shares = _helper("directus_shares")
    subscribe_to_translations = _helper("directus_translations")
    subscribe_to_users = _helper("directus_users")
    subscribe_to_versions = _helper("directus_versions")


_UNRELIABLE_LOG = (
    "On PostgreSQL, Directus sends few or none of its changes: it announces each one before "
    "the transaction that made it is committed."
)
_ALWAYS = {
    "directus_activity": _UNRELIABLE_LOG,
    "directus_revisions": _UNRELIABLE_LOG,
    "directus_fields": "Directus sends no create and no update of a field, only deletes.",
    "directus_permissions": (
        "A message about one permission brings along the app's own ones, which have no id; "
        "those are left out."
    ),
}
_ON_10 = {
    "directus_comments": (
        "Directus 10 keeps comments in directus_activity and sends nothing for directus_comments."
    ),
    "directus_flows": "Directus 10 sends no changes of flows.",
    "directus_translations": "Directus 10 sends no changes of translations.",
}


def known_gap(collection: str, version: str) -> str:
    """Return the changes that a server version does not send, as a sentence; else ``""``.

    Measured on Directus 10.13.4, 11.17.4 and 12.4.1.
    """
    if version.startswith("10.") and collection in _ON_10:
        return _ON_10[collection]
    return _ALWAYS.get(collection, "")
