"""The items that match a query now: their number, and some of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from directus_realtime.client.reading import read_newest
from directus_realtime.client.responses import taken_apart
from directus_realtime.client.rest import RestClient, items_path
from directus_realtime.protocol.queries import Query


@dataclass(frozen=True)
class Sample:
    """Some of the items that match.

    Attributes:
        total: How many match.
        key: Name of the primary key.
        items: The newest ones.
    """

    total: int
    key: str
    items: list[dict[str, Any]]


async def read_sample(rest: RestClient, query: Query, size: int) -> Sample:
    """Read items as a subscription with this query would be sent them.

    Args:
        rest: To read with.
        query: What the subscription asks for.
        size: So many items at the most.

    Raises:
        SubscriptionRefused: The collection does not exist, or the token may not see it.
        RequestRefused: Directus answered with an error.
        httpx.TransportError: Directus could not be reached.
    """
    newest = await read_newest(rest, query, size)
    items, key = [item for _, item in newest.rows], newest.primary_key
    if newest.is_all:
        return Sample(len(items), key, items)
    # Distinct, because a filter on a to-many relation gives an item more than once.
    asked = query.rest_parameters(key)
    counted = {name: asked[name] for name in ("filter", "search") if name in asked}
    count = await rest.read_items(query.collection, aggregate={"countDistinct": key}, **counted)
    with taken_apart(f"{items_path(query.collection)} (a count)"):
        return Sample(int(count[0]["countDistinct"][key]), key, items)
