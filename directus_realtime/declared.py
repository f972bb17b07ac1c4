"""Shows the subscriptions declared in code as rows beside those made in the admin."""

from __future__ import annotations

import logging
from typing import Any

from directus_realtime.database import in_bulk
from directus_realtime.settings import aliases
from directus_realtime.subscriptions import Subscription, declared

logger = logging.getLogger("directus_realtime.listener")


def sync_declared() -> None:
    """Make the rows of declared subscriptions equal to the declarations.

    A row made in the admin is never touched: where it has the name of a declaration,
    the declaration is left out and an error is logged.
    """
    from directus_realtime.models import DirectusSubscription

    wanted = declared()
    rows = in_bulk(DirectusSubscription.objects.all(), wanted, "name")
    for name, (subscription, module) in wanted.items():
        row = rows.get(name) or DirectusSubscription(name=name, declared_in=module)
        if not row.declared_in:
            logger.error(
                "The subscription %r, declared in %s, is left out: the admin has one of that "
                "name. Rename one of them.",
                name,
                module,
                extra={"what": "declaration-left-out", "subscription": name, "declared_in": module},
            )
            continue
        if subscription.connection not in aliases():
            logger.error(
                "The subscription %r, declared in %s, is for the connection %r, which is not "
                "in DIRECTUS_REALTIME.",
                name,
                module,
                subscription.connection,
                extra={
                    "what": "declaration-without-connection",
                    "subscription": name,
                    "declared_in": module,
                    "connection": subscription.connection,
                },
            )
        _update(row, subscription, module)
    DirectusSubscription.objects.exclude(declared_in="").exclude(name__in=wanted).delete()


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
    """Receiver of ``post_migrate``: the admin shows the declarations before the first listen."""
    if using == "default":
        sync_declared()
