"""Rows for the subscriptions declared in code, beside those made in the admin."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from directus_realtime.database import in_bulk
from directus_realtime.settings import aliases
from directus_realtime.subscriptions import Subscription, declared
from directus_realtime.utils.logs import EventLogger

logger = EventLogger("directus_realtime.listener")


def sync_declared() -> None:
    """Create, update and delete the rows of declared subscriptions.

    A row made in the admin is never changed: where it has the name of a declaration,
    the declaration is left out and an error is logged.
    """
    from directus_realtime.models import DirectusSubscription

    declarations = declared()
    _delete_all_but(declarations)
    rows = in_bulk(DirectusSubscription.objects.all(), declarations, "name")
    for name, (subscription, module) in declarations.items():
        row = rows.get(name) or DirectusSubscription(name=name, declared_in=module)
        if reason := _reason_against(row):
            logger.error(
                "declaration-left-out",
                "The subscription %r, declared in %s, is left out: %s. Rename one of them.",
                name,
                module,
                reason,
                subscription=name,
                declared_in=module,
            )
            continue
        if subscription.connection not in aliases():
            logger.error(
                "declaration-without-connection",
                "The subscription %r, declared in %s, is for the connection %r, which is not "
                "in DIRECTUS_REALTIME.",
                name,
                module,
                subscription.connection,
                subscription=name,
                declared_in=module,
                connection=subscription.connection,
            )
        _update(row, subscription, module)


def _delete_all_but(names: Collection[str]) -> None:
    """Delete the rows of declarations that were removed or renamed."""
    from directus_realtime.models import DirectusSubscription

    rows = DirectusSubscription.objects.exclude(declared_in="").values_list("pk", "name")
    # By exact names: MariaDB compares without case, and refuses a second spelling.
    gone = [pk for pk, name in rows if name not in names]
    DirectusSubscription.objects.filter(pk__in=gone).delete()


def _reason_against(row: Any) -> str:
    """Return why a row cannot be that of a declaration; empty where it can."""
    if not row.declared_in:
        return "the admin has one of that name"
    if row.pk is None and (other := type(row).objects.filter(name=row.name).first()):
        return f"the database takes its name for that of {other.name!r}"
    return ""


def _update(row: Any, subscription: Subscription, module: str) -> None:
    query = subscription.query
    browsers = subscription.browsers
    values = {
        "connection": subscription.connection,
        "collection": query.collection,
        "on_create": "create" in query.events,
        "on_update": "update" in query.events,
        "on_delete": "delete" in query.events,
        "filter": query.filter,
        "fields": list(query.fields),
        "item": "" if query.item is None else str(query.item),
        "group": subscription.group,
        "snapshot": subscription.snapshot,
        "debounce": subscription.debounce,
        "debounce_by": subscription.debounce_by,
        "browser_access": browsers.access if browsers else "nobody",
        "browser_permission": browsers.permission if browsers else "",
        "browser_first_load": browsers.first_load if browsers else 0,
        "enabled": True,
        "declared_in": module,
    }
    changed = [name for name, value in values.items() if getattr(row, name) != value]
    if changed or row.pk is None:
        for name in changed:
            setattr(row, name, values[name])
        row.save()


def show_declared_after_migrate(using: str = "default", **kwargs: Any) -> None:
    """Receiver of ``post_migrate``: show the declarations in the admin before the first listen."""
    if using == "default":
        sync_declared()
