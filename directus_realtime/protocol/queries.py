"""Queries of subscriptions, in Directus's form.

There is one wire subscription per action: with ``event`` set the server sends no first load, and
each error and each message is identified by its uid. ``offset``, ``page`` and ``limit`` are never
used: Directus applies them to the keys of each single event, and so drops changes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar

from directus_realtime.protocol.messages import ACTIONS, Action, Key

Filter = dict[str, Any]
T = TypeVar("T")

#: Operators of a field, of Directus 11.
OPERATORS = frozenset(
    {
        *("_eq", "_neq", "_lt", "_lte", "_gt", "_gte", "_in", "_nin", "_between", "_nbetween"),
        *("_null", "_nnull", "_empty", "_nempty", "_regex", "_submitted"),
        *("_contains", "_ncontains", "_icontains", "_nicontains"),
        *("_starts_with", "_nstarts_with", "_istarts_with", "_nistarts_with"),
        *("_ends_with", "_nends_with", "_iends_with", "_niends_with"),
        *("_intersects", "_nintersects", "_intersects_bbox", "_nintersects_bbox"),
    }
)
#: Operators that hold a list of filters.
LOGICAL_OPERATORS = frozenset({"_and", "_or"})
#: Operators of a to-many relation; they hold one filter.
RELATION_OPERATORS = frozenset({"_some", "_none"})

_LIST_OPERATORS = frozenset({"_in", "_nin", "_between", "_nbetween"})


@dataclass(frozen=True)
class Query:
    """Query of a subscription.

    Attributes:
        collection: Name of the collection, for example ``articles`` or ``directus_users``.
        events: Wanted actions.
        filter: A Directus filter; empty for all items.
        fields: Field names with dots for relations; empty for ``*``.
        sort: Orders the rows inside one message, nothing more.
        item: Only the item with this key.
        deep: Directus's ``deep``: queries of relations.
        alias: Directus's ``alias``: other names for fields.
        search: Only items that contain this text.
    """

    collection: str
    events: tuple[Action, ...] = ACTIONS
    filter: Filter = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    sort: tuple[str, ...] = ()
    item: int | str | None = None
    deep: dict[str, Any] = field(default_factory=dict)
    alias: dict[str, str] = field(default_factory=dict)
    search: str = ""

    def rest_parameters(self, primary_key: str) -> dict[str, Any]:
        """Return Directus's ``query`` for this subscription; the key is always among the fields.

        A single item is selected by a filter: a subscription with ``item`` misses most changes
        of collections with integer keys.
        """
        query: dict[str, Any] = {}
        if self.fields:
            query["fields"] = list(dict.fromkeys([primary_key, *self.fields]))
        if condition := self._filter_with_key(primary_key):
            query["filter"] = condition
        if self.sort:
            query["sort"] = list(self.sort)
        for name in ("deep", "alias", "search"):
            if value := getattr(self, name):
                query[name] = value
        return query

    @property
    def has_condition(self) -> bool:
        """Whether there is a filter or a search, so that items can be outside."""
        return bool(self.filter or self.search)

    @property
    def reports_leaving(self) -> bool:
        """Whether items that leave the filter are reported: creates and updates are followed."""
        return self.has_condition and {"create", "update"} <= set(self.events)

    def without_condition(self) -> Self:
        """Return the query without filter and search; a single item stays selected."""
        return replace(self, filter={}, search="")

    def rest_key(self, primary_key: str) -> dict[str, Any]:
        """Return Directus's ``query`` for the keys of all items, in the filter or not."""
        return Query(self.collection, fields=(primary_key,), item=self.item).rest_parameters(
            primary_key
        )

    def fingerprint(self) -> str:
        """Return a text that is equal for queries with the same meaning only."""
        content = {**vars(self), "fields": sorted(set(self.fields)), "events": sorted(self.events)}
        return json.dumps(content, sort_keys=True, default=str)

    def _filter_with_key(self, primary_key: str) -> Filter:
        if self.item is None:
            return self.filter
        by_key = {primary_key: {"_eq": self.item}}
        return {"_and": [by_key, self.filter]} if self.filter else by_key


_HARMFUL = frozenset({"limit", "offset", "page"})


@dataclass(frozen=True)
class BrowserQuery:
    """The query of a browser for one collection.

    Attributes:
        events: The requested changes.
        fields: Field names with dots for relations; ``("*",)`` for all offered fields.
        filter: A Directus filter; empty for all items.
        sort: Order of the first load: field names, with a hyphen for descending order.
        limit: Number of items of the first load; ``None`` for all.
        item: Key of the only item.
    """

    events: tuple[Action, ...] = ACTIONS
    fields: tuple[str, ...] = ("*",)
    filter: Filter = field(default_factory=dict)
    sort: tuple[str, ...] = ()
    limit: int | None = None
    item: Key | None = None


def refuse_harmful(options: dict[str, Any], known: Iterable[str]) -> None:
    """Refuse unknown options, and those that would make a subscription lose changes.

    Args:
        options: Options besides the known ones.
        known: Names of the known options.

    Raises:
        ValueError: ``limit``, ``offset`` or ``page`` is among the options.
        TypeError: Anything else is.
    """
    for name in options:
        if name in _HARMFUL:
            raise ValueError(
                f"{name} is not possible in a subscription: Directus applies it to the keys "
                "of each single change, so changes would be lost. Use a filter."
            )
        raise TypeError(
            f"There is no option {name!r} of a subscription; there are {', '.join(known)}."
        )


def listed(what: str, names: Iterable[T]) -> tuple[T, ...]:
    """Return names as a tuple, but refuse a text, whose letters would become names.

    Raises:
        ValueError: A text was given in the place of a list.
    """
    if isinstance(names, str):
        raise ValueError(f"{what} must be a list such as [{names!r}], not the text {names!r}.")
    return tuple(names)


@dataclass(frozen=True)
class WireSubscription:
    """One ``subscribe`` message.

    Attributes:
        uid: Our identifier, stable over reconnects.
        query: Directus's ``query``; left out of the message when empty, because a batch update
            then arrives complete even with ``QUERY_LIMIT_MAX``.
    """

    uid: str
    collection: str
    event: Action
    query: dict[str, Any]

    def message(self) -> dict[str, Any]:
        """Return the message."""
        message: dict[str, Any] = {
            "type": "subscribe",
            "collection": self.collection,
            "event": self.event,
            "uid": self.uid,
        }
        if self.query:
            message["query"] = {**self.query, "limit": -1}
        return message


def check_filter(condition: object, path: str = "The filter") -> None:
    """Check the shape of a Directus filter; the server checks its fields.

    Raises:
        ValueError: A sentence that names the offending part.
    """
    if not isinstance(condition, dict):
        raise ValueError(f'{path} must be an object such as {{"status": {{"_eq": "x"}}}}.')
    try:
        _check_conditions(condition)
    except RecursionError:
        raise ValueError(f"{path} is nested too deep.") from None


def _check_conditions(condition: dict[str, Any]) -> None:
    for name, value in condition.items():
        if name in LOGICAL_OPERATORS:
            _check_filter_list(name, value)
        elif name in RELATION_OPERATORS:
            check_filter(value, f"The value of {name}")
        elif name in OPERATORS:
            _check_operand(name, value)
        elif name.startswith("_"):
            raise ValueError(f"{name} is not a Directus filter operator.")
        elif not isinstance(value, dict):
            raise ValueError(
                f"The value of the field {name} must be an object with an operator, "
                f'such as {{"{name}": {{"_eq": …}}}}.'
            )
        else:
            check_filter(value, f"The value of {name}")


def _check_filter_list(name: str, value: object) -> None:
    if not isinstance(value, list):
        raise ValueError(f"The value of {name} must be a list of filters.")
    for entry in value:
        check_filter(entry, f"Each entry of {name}")


def _check_operand(name: str, value: object) -> None:
    if name in _LIST_OPERATORS and not isinstance(value, list | str):
        raise ValueError(f"The value of {name} must be a list.")
    if name in {"_between", "_nbetween"} and isinstance(value, list) and len(value) != 2:
        raise ValueError(f"The value of {name} must be a list of two values.")
