"""Filters evaluated in this process, for each event; pure.

Items that pass here would pass in the database: where the two might differ, because only the
database knows the type of a column, the item does not pass. Negated operators are conditions of
their own, and there is no negation around others, so a no at any place never becomes a yes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from directus_realtime.exceptions import QueryRefused
from directus_realtime.gateway.operands import Operand, Operands, compare, to_operand
from directus_realtime.protocol.queries import LOGICAL_OPERATORS

#: Levels of a filter, so that its evaluation cannot exhaust the stack.
MAX_DEPTH = 20

# Characters of a value in a message.
_SHOWN = 60

Test = Callable[[Any], bool]
#: Names of a field, of a field of the related item, and so on.
Path = tuple[str, ...]

_EQUALITY = frozenset({"_eq", "_neq", "_in", "_nin"})
_LISTS = frozenset({"_in", "_nin", "_between", "_nbetween"})
_RANGES = frozenset({"_between", "_nbetween"})
_ORDERS: dict[str, Callable[[int], bool]] = {
    "_lt": lambda order: order < 0,
    "_lte": lambda order: order <= 0,
    "_gt": lambda order: order > 0,
    "_gte": lambda order: order >= 0,
}
_FLAGS: dict[str, tuple[Test, Test]] = {
    "_null": (lambda value: value is None, lambda value: value is not None),
    "_empty": (
        lambda value: value is None or value == "",
        lambda value: isinstance(value, str) and value != "",
    ),
}
_TEXTS: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda value, part: part in value,
    "starts_with": str.startswith,
    "ends_with": str.endswith,
}
_TEXT_OPERATOR = re.compile(r"_(n?)(i?)(contains|starts_with|ends_with)")
# Directus replaces them by the time, or by a value of the requesting user.
_DYNAMIC = re.compile(r"\$(NOW|CURRENT_)")
_NO_FIELD = re.compile(r"[.*():$]|^$")

_MISSING = object()


@dataclass(frozen=True)
class Condition:
    """A filter that can be evaluated.

    Attributes:
        paths: Paths of the compared fields.
        size: Number of operators, which determines the cost of an evaluation.
        values: Number of values, those in lists counted each.
    """

    paths: frozenset[Path]
    size: int
    values: int
    _tests: tuple[Test, ...]

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Return whether an item passes; conditions on a field that it lacks do not."""
        return all(test(row) for test in self._tests)


def compile_filter(filter_: object) -> Condition:
    """Compile a Directus filter.

    Raises:
        QueryRefused: ``INVALID_QUERY``; the message names the part that cannot be evaluated.
    """
    compiler = _Compiler()
    tests = compiler.item(filter_, (), 0)
    return Condition(frozenset(compiler.paths), compiler.size, compiler.values, tests)


class _Compiler:
    def __init__(self) -> None:
        self.paths: set[Path] = set()
        self.size = 0
        self.values = 0

    def item(self, filter_: object, path: Path, depth: int) -> tuple[Test, ...]:
        """Return the tests of an item; all of them must pass."""
        if not isinstance(filter_, dict):
            raise _refused('A filter must be an object such as {"status": {"_eq": "published"}}.')
        if depth > MAX_DEPTH:
            raise _refused(f"The filter is nested deeper than {MAX_DEPTH} levels.")
        return tuple(self._entry(name, value, path, depth) for name, value in filter_.items())

    def _entry(self, name: object, value: object, path: Path, depth: int) -> Test:
        if name in LOGICAL_OPERATORS:
            return self._group(str(name), value, path, depth, self.item)
        if not isinstance(name, str) or name.startswith("_"):
            raise _refused(f"{shorten(name)} cannot be evaluated here.")
        if _NO_FIELD.search(name):
            raise _refused(f"{shorten(name)} is not the name of a field.")
        tests = self._field(value, (*path, name), depth + 1)
        return lambda row: _pass_all(tests, row.get(name, _MISSING))

    def _field(self, value: object, path: Path, depth: int) -> tuple[Test, ...]:
        """Return the tests of a field: operators, or the fields of a related item."""
        if not isinstance(value, dict):
            value = {"_eq": value}
        if depth > MAX_DEPTH:
            raise _refused(f"The filter is nested deeper than {MAX_DEPTH} levels.")
        if not value:
            raise _refused(f"The filter of {shorten('.'.join(path))} has no operator.")
        return tuple(self._test(name, operand, path, depth) for name, operand in value.items())

    def _test(self, name: object, operand: object, path: Path, depth: int) -> Test:
        if name in LOGICAL_OPERATORS:
            return self._group(str(name), operand, path, depth, self._field)
        if isinstance(name, str) and name.startswith("_"):
            self.paths.add(path)
            self.size += 1
            self.values += _count(name, operand)
            test = operator_test(name, operand)
            return lambda value: value is not _MISSING and test(value)
        entry = self._entry(name, operand, path, depth)
        return lambda value: _pass_related(entry, value)

    def _group(
        self,
        name: str,
        entries: object,
        path: Path,
        depth: int,
        compile_entry: Callable[[object, Path, int], tuple[Test, ...]],
    ) -> Test:
        if not isinstance(entries, list):
            raise _refused(f"The value of {name} must be a list of filters.")
        # Empty groups cost, too, and so does each of their entries.
        self.size += 1
        groups = []
        for entry in entries:
            size = self.size
            groups.append(compile_entry(entry, path, depth + 1))
            self.size = max(self.size, size + 1)
        combine = all if name == "_and" else any
        return lambda value: combine(_pass_all(tests, value) for tests in groups)


def _pass_all(tests: tuple[Test, ...], value: Any) -> bool:
    return all(test(value) for test in tests)


class _NoItem(dict[str, None]):
    """The related item of a relation without a value: all its fields are NULL."""

    def get(self, key: str, default: Any = None) -> Any:
        return None


_NO_ITEM = _NoItem()


def _pass_related(test: Test, value: Any) -> bool:
    """Test the fields of a related item; a list of items, and a bare key, pass nothing."""
    if value is None:
        return test(_NO_ITEM)
    return isinstance(value, dict) and test(value)


def operator_test(name: str, operand: object) -> Test:
    """Return the test of one operator.

    Raises:
        QueryRefused: The operator is unknown or cannot be evaluated, or its operand is wrong.
    """
    if name in _EQUALITY:
        return _equality(name, operand)
    if name in _ORDERS:
        return _order(name, operand)
    if name in _RANGES:
        return _range(name, operand)
    # Not other names of that form, such as _nnnull.
    negated = name in {"_nnull", "_nempty"}
    if (positive := "_" + name[2:] if negated else name) in _FLAGS:
        return _flag(name, positive, negated, operand)
    if match := _TEXT_OPERATOR.fullmatch(name):
        return _text(name, match, operand)
    raise _refused(f"The filter operator {shorten(name)} cannot be evaluated here.")


def _equality(name: str, operand: object) -> Test:
    entries = _list(name, operand) if name in _LISTS else [operand]
    operands = Operands(_operand(name, entry) for entry in entries)
    return operands.contain if name in {"_eq", "_in"} else operands.exclude


def _order(name: str, operand: object) -> Test:
    other, is_wanted = _operand(name, operand), _ORDERS[name]

    def test(value: Any) -> bool:
        order = compare(to_operand(value), other)
        return order is not None and is_wanted(order)

    return test


def _range(name: str, operand: object) -> Test:
    bounds = [_operand(name, entry) for entry in _list(name, operand)]
    if len(bounds) != 2:
        raise _refused(f"The value of {name} must be a list of two values.")
    low, high = bounds

    def test(value: Any) -> bool:
        given = to_operand(value)
        above, below = compare(given, low), compare(given, high)
        if above is None or below is None:
            return False
        return (above >= 0 and below <= 0) is (name == "_between")

    return test


def _flag(name: str, positive: str, negated: bool, operand: object) -> Test:
    if not isinstance(operand, bool):
        raise _refused(f"The value of {name} must be true or false, not {shorten(operand)}.")
    is_so, is_not_so = _FLAGS[positive]
    return is_so if operand != negated else is_not_so


def _text(name: str, match: re.Match[str], operand: object) -> Test:
    if not isinstance(operand, str):
        raise _refused(f"The value of {name} must be a text, not {shorten(operand)}.")
    part = _operand(name, operand).text or ""
    negated, ignores_case, find = bool(match[1]), bool(match[2]), _TEXTS[match[3]]
    # They are wildcards of a database; a negated operator could then show an item that the
    # database hides.
    if "\\" in part or (negated and re.search("[%_]", part)):
        raise _refused(f"{name} cannot be evaluated here with %, _ or \\ in its value.")
    # SQLite ignores case in all of these: the part must be absent in any case.
    if negated or ignores_case:
        part = part.lower()
        return lambda value: isinstance(value, str) and find(value.lower(), part) is not negated
    return lambda value: isinstance(value, str) and find(value, part)


def _count(name: str, operand: object) -> int:
    return len(_list(name, operand)) if name in _LISTS and operand else 1


def _list(name: str, operand: object) -> list[object]:
    if isinstance(operand, str):
        return list(operand.split(","))
    if not isinstance(operand, list):
        raise _refused(f"The value of {name} must be a list, not {shorten(operand)}.")
    return operand


def _operand(name: str, value: object) -> Operand:
    if value is None:
        raise _refused(f"{name} never matches null; use _null or _nnull.")
    if isinstance(value, str) and _DYNAMIC.match(value):
        raise _refused(f"{shorten(value)} cannot be evaluated here; write the value itself.")
    operand = to_operand(value)
    if operand.is_null:
        raise _refused(f"{name} cannot be compared with {shorten(value)}.")
    return operand


def shorten(value: object) -> str:
    """Return a value for a sentence: the beginning of a long one, the kind of a large one."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number of that size"
    text = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _refused(message: str) -> QueryRefused:
    return QueryRefused("INVALID_QUERY", message)
