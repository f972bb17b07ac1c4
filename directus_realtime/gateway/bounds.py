"""What a browser asks for, held against what is offered."""

from __future__ import annotations

from dataclasses import replace

from directus_realtime.events import Key
from directus_realtime.exceptions import QueryRefused
from directus_realtime.gateway.conditions import compile_filter, shorten
from directus_realtime.gateway.offers import Offer
from directus_realtime.gateway.ordering import sort_path
from directus_realtime.gateway.projection import FieldTree, narrow
from directus_realtime.gateway.queries import BrowserQuery


def within(offer: Offer, asked: BrowserQuery) -> BrowserQuery:
    """The browser's query with the offer's own bounds.

    Raises:
        QueryRefused: ``FORBIDDEN``; it goes beyond them.
    """
    fields = narrow(offer.fields, asked.fields)
    if fields is None:
        outside = next(name for name in asked.fields if narrow(offer.fields, [name]) is None)
        raise _forbidden_field(outside)
    events = tuple(event for event in asked.events if event in offer.actions)
    if not events:
        raise QueryRefused("FORBIDDEN", f"{', '.join(asked.events)} is not offered to you.")
    return replace(asked, events=events, fields=fields, item=_item(offer, asked))


def _item(offer: Offer, query: BrowserQuery) -> Key | None:
    if offer.item is None:
        return query.item
    if query.item is not None and str(query.item) != str(offer.item):
        raise QueryRefused("FORBIDDEN", "This item does not exist, or it is not offered to you.")
    return offer.item


def check_browser(query: BrowserQuery, tree: FieldTree) -> None:
    """Refuse to look at hidden fields: what passes a filter, or comes first, tells their values.

    Raises:
        QueryRefused: ``FORBIDDEN``; the filter or the order names a field outside of the tree.
    """
    paths = [*compile_filter(query.filter).paths, *map(sort_path, query.sort)]
    if outside := [path for path in sorted(paths) if not tree.covers(path)]:
        raise _forbidden_field(".".join(outside[0]))


def _forbidden_field(name: str) -> QueryRefused:
    return QueryRefused(
        "FORBIDDEN", f"The field {shorten(name)} does not exist, or it is not offered to you."
    )
