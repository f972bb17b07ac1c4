"""Offers: the subscriptions that browsers may have."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields
from functools import cached_property

from django.core.exceptions import ValidationError

from directus_realtime.events import Action, Key
from directus_realtime.groups import group_name
from directus_realtime.models import BrowserAccess, DirectusSubscription
from directus_realtime.protocol.queries import Filter
from directus_realtime.subscriptions import Browsers, Subscription, declared


@dataclass(frozen=True)
class Offer:
    """A subscription that some browsers may have.

    Attributes:
        name: Name of the subscription, as in its events.
        connection: Alias of the Directus server.
        collection: Name of the collection.
        group: The Channels group of its events; it may carry those of other subscriptions, too.
        actions: The offered changes.
        fields: The offered fields; empty for the item's own.
        filter: Filter of the items, as Directus evaluates it.
        item: Key of the only item; ``None`` for all.
        access: ``public``, ``signed_in``, ``permission`` or ``function``.
        permission: The required Django permission, or ``""``.
        first_load: Number of items of the first load; 0 for none.
        subscription: The declaration in code; ``None`` for one that was made in the admin.
    """

    name: str
    connection: str
    collection: str
    group: str
    actions: tuple[Action, ...]
    fields: tuple[str, ...]
    filter: Filter = field(hash=False)
    item: Key | None
    access: str
    permission: str
    first_load: int
    subscription: Subscription | None = field(default=None, compare=False)

    @property
    def browsers(self) -> Browsers | None:
        """The access as declared in code."""
        return self.subscription.browsers if self.subscription else None

    @property
    def asks_site(self) -> bool:
        """Whether a function of the site decides about access."""
        browsers = self.browsers
        return browsers is not None and (self.access == "function" or browsers.rows is not None)

    @cached_property
    def fingerprint(self) -> str:
        """Hash that changes with every value of the offer, except functions."""
        values = {part.name: getattr(self, part.name) for part in fields(self) if part.compare}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def load_offers() -> list[Offer]:
    """Return the enabled subscriptions that browsers may have, sorted by name.

    The declaration of this process decides about access to a declared subscription: without
    one, or before the listener has stored it, access is refused.
    """
    rows = DirectusSubscription.objects.followed()
    rows = rows.exclude(browser_access=BrowserAccess.NOBODY).order_by("name")
    known = {name: subscription for name, (subscription, _) in declared().items()}
    offers = [_to_offer(row, known.get(row.name)) for row in rows if _is_valid(row)]
    return [offer for offer in offers if offer is not None]


def _is_valid(row: DirectusSubscription) -> bool:
    try:
        row.clean_query()
    except ValidationError:
        return False  # the listener does not subscribe it either, and logs the error
    return True


def _to_offer(row: DirectusSubscription, subscription: Subscription | None) -> Offer | None:
    if row.declared_in:
        browsers = subscription.browsers if subscription else None
        if browsers is None:
            return None
        access, permission, first_load = browsers.access, browsers.permission, browsers.first_load
    elif row.browser_access == BrowserAccess.FUNCTION:
        return None
    else:
        subscription, access = None, str(row.browser_access)
        permission, first_load = row.browser_permission, row.browser_first_load
    return Offer(
        name=row.name,
        connection=row.connection,
        collection=row.collection,
        group=row.group or group_name(row.collection, connection=row.connection),
        actions=row.actions,
        fields=tuple(row.fields),
        filter=row.filter,
        item=row.item or None,
        access=access,
        permission=permission,
        first_load=first_load,
        subscription=subscription,
    )
