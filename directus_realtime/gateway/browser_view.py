"""Views: the part of an offer that one browser receives; pure."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

from directus_realtime.events import Action, Key
from directus_realtime.gateway.conditions import Condition, Path, compile_filter
from directus_realtime.gateway.operands import Operand, to_operand
from directus_realtime.protocol.queries import Filter

Row = Mapping[str, Any]

WILDCARD = "*"
_FUNCTION = re.compile(r"^(\w+)\((\w+)\)$")


class _Unknown(enum.Enum):
    UNKNOWN = "unknown"


#: The previous state of an item if it is not remembered.
UNKNOWN: Final = _Unknown.UNKNOWN
Previous = Row | None | Literal[_Unknown.UNKNOWN]


@dataclass(frozen=True, slots=True)
class Seen:
    """A change as a browser receives it.

    Attributes:
        action: The change, as the browser sees it.
        data: The item's shown fields; for a delete, its key.
    """

    action: Action
    data: dict[str, Any] | Key


@dataclass(frozen=True)
class BrowserView:
    """The part of an offer that one browser may see, and requests.

    Attributes:
        offer_name: Name of the offer.
        fingerprint: Fingerprint of the offer.
        actions: The changes that it receives.
        fields: The shown fields, as in a query; no more than offered.
        filter: The shown items of the offer.
        is_restricted: Whether the filter hides items from the browser, other than those that
            the browser itself excludes.
        item: Key of the only item; ``None`` for all.
        sort: Order of the first load.
        limit: Number of items of the first load.
    """

    offer_name: str
    fingerprint: str
    actions: tuple[Action, ...]
    fields: tuple[str, ...]
    filter: Filter = field(default_factory=dict, hash=False)
    is_restricted: bool = False
    item: Key | None = None
    sort: tuple[str, ...] = ()
    limit: int = 0

    @cached_property
    def key(self) -> Hashable:
        """Equal for views that show the same of each event; their first loads may differ."""
        return (
            self.offer_name,
            self.fingerprint,
            self.actions,
            frozenset(self.fields),
            json.dumps(self.filter, sort_keys=True),
            self.is_restricted,
            None if self.item is None else str(self.item),
        )

    def see(self, action: Action, key: Key, row: Row | None, previous: Previous) -> Seen | None:
        """Return a change as the browser receives it; ``None`` if it does not.

        An item that the browser saw, and may not see any longer, becomes a delete of its key.

        Args:
            action: Action of the event; ``delete`` also for an update by which the item left
                the filter of the offer.
            key: Key of the item.
            row: The item, with all fields of the offer; ``None`` for a delete.
            previous: The item before the change; ``None`` if it was not part of the offer,
                :data:`UNKNOWN` if it is not remembered.
        """
        if self.item is not None and str(self.item) != str(key):
            return None
        if action == "delete" or row is None:
            return self._see_gone(key, previous, is_deleted=action == "delete")
        if not self._condition.matches(row):
            return self._see_gone(key, previous, is_deleted=False)
        return Seen(action, self._tree.project(row)) if action in self.actions else None

    def _see_gone(self, key: Key, previous: Previous, *, is_deleted: bool) -> Seen | None:
        if "delete" not in self.actions:
            return None
        if not self.filter and not self.is_restricted:
            was_seen = is_deleted
        elif previous is UNKNOWN:
            # As in Directus: a browser's own filter does not apply to deletes.
            was_seen = is_deleted and not self.is_restricted
        else:
            was_seen = previous is not None and self._condition.matches(previous)
        return Seen("delete", key) if was_seen else None

    def select(self, rows: Iterable[Row], primary_key: str = "id") -> list[dict[str, Any]]:
        """Return the browser's part of a first load.

        Args:
            rows: Items with all fields of the offer, the newest first.
            primary_key: Name of the field with their keys.
        """
        found = [row for row in rows if self._condition.matches(row)]
        if self.item is not None:
            found = [row for row in found if str(row.get(primary_key)) == str(self.item)]
        return [self._tree.project(row) for row in ordered(found, self.sort)[: self.limit]]

    @cached_property
    def _condition(self) -> Condition:
        return compile_filter(self.filter)

    @cached_property
    def _tree(self) -> FieldTree:
        return field_tree(self.fields)


# Fields


@dataclass(frozen=True, slots=True)
class FieldTree:
    """The fields of an item, of its relations, and so on.

    Attributes:
        is_leaf: Whether the value itself is shown, unless it is a related item.
        names: Trees of the named fields.
        rest: Tree of all other fields; ``None`` if they are hidden.
    """

    is_leaf: bool
    names: Mapping[str, FieldTree]
    rest: FieldTree | None

    def below(self, name: str) -> FieldTree | None:
        """Return the tree of a field; ``None`` if it is hidden."""
        return self.names.get(name, self.rest)

    def covers(self, path: Path) -> bool:
        """Return whether the tree has the value at a path; the path has no wildcards."""
        tree: FieldTree | None = self
        for name in path:
            tree = tree.below(name) if tree is not None else None
        return tree is not None and tree.is_leaf

    def project(self, row: Row) -> dict[str, Any]:
        """Return the shown part of an item, in the order of its own fields."""
        shown = {}
        for name, value in row.items():
            tree = self.names.get(name, self.rest)
            if tree is None:
                continue
            if tree.is_leaf and not isinstance(value, dict | list):
                shown[name] = value
            elif tree._may_show(value):
                shown[name] = tree._project_value(value)
        return shown

    def _may_show(self, value: Any) -> bool:
        # A related item that is not expanded is its key, which a path beyond it does not offer.
        return self.is_leaf or value is None or isinstance(value, dict | list)

    def _project_value(self, value: Any) -> Any:
        if not self.names and self.rest is None:
            return value  # a JSON field: all of it
        if isinstance(value, dict):
            return self.project(value)
        if isinstance(value, list):
            return [self._project_value(entry) for entry in value if self._may_show(entry)]
        return value


def to_path(field: str) -> Path:
    """Return the path of a field's value in a row.

    The collection of ``item:pages.title`` is no part of it, and the value of ``count(tags)`` is
    at ``tags_count``.
    """
    parts = (part.partition(":")[0] for part in field.split("."))
    return tuple(_FUNCTION.sub(r"\2_\1", part) for part in parts)


def field_tree(fields: Iterable[str]) -> FieldTree:
    """Return the tree of fields, as Directus interprets them; of the item's own if empty."""
    return _tree([to_path(field) for field in fields] or [(WILDCARD,)])


def _tree(paths: Iterable[Path]) -> FieldTree:
    paths = list(dict.fromkeys(paths))
    heads = dict.fromkeys(path[0] for path in paths if path and path[0] != WILDCARD)
    # For a field without a relation, the part behind a wildcard means nothing.
    others = [tail for path in paths if path and path[0] == WILDCARD for tail in (path[1:], ())]
    names = {
        head: _tree(others + [path[1:] for path in paths if path and path[0] == head])
        for head in heads
    }
    return FieldTree(() in paths, names, _tree(others) if others else None)


def narrow(offered: Iterable[str], requested: Iterable[str]) -> tuple[str, ...] | None:
    """Return the requested fields, no more than offered; ``None`` if one is not offered.

    Args:
        offered: Fields of a subscription; empty for the item's own.
        requested: Fields of a browser; ``*`` is all that is offered from its place on, with
            relations.
    """
    tree = field_tree(offered)
    found: dict[str, None] = {}
    for name in requested:
        paths = _offered_paths(tree, to_path(name))
        if not paths:
            return None
        found.update(dict.fromkeys(".".join(path) for path in paths))
    return tuple(found)


def _offered_paths(tree: FieldTree, path: Path) -> list[Path]:
    """Return the offered paths for a requested one; none if it is not offered."""
    if not path:
        # A request for a whole relation gets the offered part of it.
        return [(), *_all_paths(tree)] if tree.is_leaf else []
    if path[0] == WILDCARD:
        return _all_paths(tree)
    below = tree.below(path[0])
    return [(path[0], *rest) for rest in _offered_paths(below, path[1:])] if below else []


def _all_paths(tree: FieldTree) -> list[Path]:
    """Return every offered path below the root of a tree."""
    found: list[Path] = []
    branches = dict(tree.names)
    if tree.rest is not None:
        branches[WILDCARD] = tree.rest
    for name, below in branches.items():
        found += [(name,)] if below.is_leaf else []
        found += [(name, *rest) for rest in _all_paths(below)]
    return found


# Order


def sort_path(name: str) -> Path:
    """Return the path of an entry of ``sort``, for example ``-date_created``."""
    return to_path(name.lstrip("-+"))


def ordered(rows: Iterable[Row], sort: Iterable[str]) -> list[Row]:
    """Return items in the order of ``sort``; NULL is lowest, and equals keep their order."""
    found = list(rows)
    for name in reversed(tuple(sort)):  # the last criterion first
        path = sort_path(name)
        keys = _sort_keys([_value_at(row, path) for row in found])
        numbers = sorted(range(len(found)), key=keys.__getitem__, reverse=name.startswith("-"))
        found = [found[number] for number in numbers]
    return found


def _value_at(row: Any, path: Path) -> Any:
    for name in path:
        row = row.get(name) if isinstance(row, dict) else None
    return row


def _sort_keys(values: list[Any]) -> list[tuple[int, Any]]:
    operands = [to_operand(value) for value in values]
    texts = [operand for operand in operands if operand.text is not None]
    # A column of decimals, or of date-times, is recognised by all of its texts being such.
    for kind in ("number", "moment"):
        if all(getattr(operand, kind) is not None for operand in texts):
            return [_sort_key(operand, kind) for operand in operands]
    return [_sort_key(operand, "text") for operand in operands]


def _sort_key(operand: Operand, kind: str) -> tuple[int, Any]:
    if operand.text is not None:
        return (1 if kind == "number" else 3, getattr(operand, kind))
    if operand.number is not None:
        return (1, operand.number)
    return (0, 0) if operand.flag is None else (2, operand.flag)
