"""Fields of an item: which ones a browser receives, and the order of items by them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from directus_realtime.gateway.operands import Operand, to_operand

WILDCARD = "*"

#: One part of a path after the other.
Path = tuple[str, ...]

_FUNCTION = re.compile(r"^(\w+)\((\w+)\)$")


@dataclass(frozen=True, slots=True)
class FieldTree:
    """The fields of an item, of its relations, and so on.

    Attributes:
        is_leaf: Whether the value itself is shown, where it is no related item.
        names: The trees of fields that are named.
        rest: The tree of every other field; ``None`` where those are hidden.
    """

    is_leaf: bool
    names: Mapping[str, FieldTree]
    rest: FieldTree | None

    @property
    def has_branches(self) -> bool:
        """Whether there is something below it."""
        return bool(self.names) or self.rest is not None

    def below(self, name: str) -> FieldTree | None:
        """The tree of a field; ``None`` for one that is hidden."""
        return self.names.get(name, self.rest)

    def covers(self, path: Path) -> bool:
        """Whether the value at a path is part of the tree; the path has no wildcards."""
        tree: FieldTree | None = self
        for name in path:
            tree = tree.below(name) if tree is not None else None
        return tree is not None and tree.is_leaf

    def project(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The shown part of an item, in the order of its own fields."""
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
        if not self.has_branches:
            return value  # a JSON field: all of it
        if isinstance(value, dict):
            return self.project(value)
        if isinstance(value, list):
            return [self._project_value(entry) for entry in value if self._may_show(entry)]
        return value


def to_path(field: str) -> Path:
    """A field as Directus writes it in ``fields``, as the path of its value in a row.

    The collection of ``item:pages.title`` is no part of it, and ``count(tags)`` is found at
    ``tags_count``.
    """
    parts = (part.partition(":")[0] for part in field.split("."))
    return tuple(_FUNCTION.sub(r"\2_\1", part) for part in parts)


def field_tree(fields: Iterable[str]) -> FieldTree:
    """The tree of some fields, as Directus would read them; of the item's own without any."""
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


def narrow(offered: Iterable[str], asked: Iterable[str]) -> tuple[str, ...] | None:
    """The offered fields that somebody asks for.

    Args:
        offered: As in a subscription; none for the item's own.
        asked: The same of a browser; ``*`` is all that is offered from its place on, relations
            and all.

    Returns:
        Fields for :func:`field_tree`, none more than offered; ``None`` if one is not offered.
    """
    tree = field_tree(offered)
    found: dict[str, None] = {}
    for field in asked:
        paths = _asked_paths(tree, to_path(field))
        if not paths:
            return None
        found.update(dict.fromkeys(".".join(path) for path in paths))
    return tuple(found)


def _asked_paths(tree: FieldTree, path: Path) -> list[Path]:
    """The offered paths for one that is asked for; none if it is not offered."""
    if not path:
        # Whoever asks for a relation as a whole gets what is offered of it, not more.
        return [(), *_all_paths(tree)] if tree.is_leaf else []
    if path[0] == WILDCARD:
        return _all_paths(tree)
    below = tree.below(path[0])
    return [(path[0], *rest) for rest in _asked_paths(below, path[1:])] if below else []


def _all_paths(tree: FieldTree) -> list[Path]:
    """Every offered path below the root of a tree."""
    found: list[Path] = []
    branches = dict(tree.names)
    if tree.rest is not None:
        branches[WILDCARD] = tree.rest
    for name, below in branches.items():
        found += [(name,)] if below.is_leaf else []
        found += [(name, *rest) for rest in _all_paths(below)]
    return found


Row = Mapping[str, Any]


def sort_path(name: str) -> Path:
    """The field of an entry of ``sort``, such as ``-date_created``."""
    return to_path(name.lstrip("-+"))


def ordered(rows: Iterable[Row], sort: Iterable[str]) -> list[Row]:
    """Items in the order of ``sort``; NULL is lowest, and equals keep their order."""
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
    # A column of decimals, or of date-times, is known by all of its texts being such.
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
