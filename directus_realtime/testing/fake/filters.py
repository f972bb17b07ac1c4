"""Filters with the semantics of Directus on SQLite.

A comparison with NULL is never true, as in SQL, and the text operators ignore case, as SQLite's
LIKE does.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from directus_realtime.testing.fake.fake_collection import FakeCollection, Filter, Item
from directus_realtime.testing.fake.refusals import forbidden_field, invalid_query
from directus_realtime.testing.fake.store import Store

NO_LIMITS: Mapping[str, Sequence[str]] = {}

NULLS = {"_null", "_nnull"}
EQUALS = {"_eq", "_neq", "_in", "_nin", *NULLS}
ORDERED = {"_lt", "_lte", "_gt", "_gte", "_between", "_nbetween", *EQUALS}
STRINGS = {"_empty", "_nempty", "_contains", "_ncontains", "_icontains", *EQUALS}
STRINGS |= {"_starts_with", "_nstarts_with", "_istarts_with", "_nistarts_with"}
STRINGS |= {"_ends_with", "_nends_with", "_iends_with", "_niends_with"}
OPERATORS = {"string": STRINGS, "text": STRINGS, "uuid": EQUALS, "json": NULLS}
OPERATORS["boolean"] = {"_eq", "_neq", *NULLS}  # every other type has an order

CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "integer": int,
    "bigInteger": int,
    "float": float,
    "decimal": float,
    "timestamp": lambda written: dt.datetime.fromisoformat(written).astimezone(dt.UTC),
}


def check(
    store: Store,
    collection: FakeCollection,
    condition: Filter,
    readable: Mapping[str, Sequence[str]] = NO_LIMITS,
    path: str = "",
) -> None:
    """Refuse a filter with an unknown field or an operator that its type does not have.

    ``readable`` has the readable fields by collection, ``path`` the relation to this one.
    """
    for name, value in condition.items():
        if name in ("_and", "_or"):
            for each in value:
                check(store, collection, each, readable, path)
            continue
        if name not in readable.get(collection.name, collection.field_names):
            raise forbidden_field(name, collection.name, path)
        related = collection.related(name)
        if related and _is_nested(value):
            below = f"{path}.{name}" if path else name
            check(store, store.schema[related], value, readable, below)
        else:
            _check_operators(store.schema.type_of(collection, name), value)


def matches(store: Store, collection: FakeCollection, condition: Filter, row: Item) -> bool:
    """Return whether a row passes a filter that :func:`check` has accepted."""
    return all(_passes(store, collection, name, value, row) for name, value in condition.items())


def _passes(store: Store, collection: FakeCollection, name: str, value: Any, row: Item) -> bool:
    if name == "_and":
        return all(matches(store, collection, each, row) for each in value)
    if name == "_or":
        return not value or any(matches(store, collection, each, row) for each in value)
    related = collection.related(name)
    if related and _is_nested(value):
        other = store.schema[related]
        found = store.row(related, row[name]) if row[name] is not None else None
        return matches(store, other, value, found or dict.fromkeys(other.field_names))
    operators = value if isinstance(value, dict) else {"_eq": value}
    kind = store.schema.type_of(collection, name)
    return all(_compare(kind, op, row[name], operand) for op, operand in operators.items())


def _is_nested(value: Any) -> bool:
    """Return whether the filter of a relation names fields of the other collection."""
    return isinstance(value, dict) and not all(
        name.startswith("_") and name not in ("_and", "_or") for name in value
    )


def _check_operators(kind: str, value: Any) -> None:
    allowed = OPERATORS.get(kind, ORDERED)
    for name in value if isinstance(value, dict) else ():
        if name not in allowed:
            raise invalid_query(
                f'"{kind}" field type does not contain the "{name}" filter operator'
            )


def _compare(kind: str, operator: str, value: Any, operand: Any) -> bool:
    if operator in NULLS:
        return (value is None) is (_truth(operand) is (operator == "_null"))
    if operator in ("_empty", "_nempty"):
        return (value in (None, "")) is (_truth(operand) is (operator == "_empty"))
    if operator in ("_in", "_nin", "_between", "_nbetween"):
        return value is not None and _among(kind, operator, value, _as_list(operand))
    if value is None or operand is None:
        return False
    value = _cast(kind, value) if kind == "timestamp" else value
    if operator in ("_eq", "_neq"):
        return (value == _cast(kind, operand)) is (operator == "_eq")
    if operator in ("_lt", "_lte", "_gt", "_gte"):
        return _ordered(operator, value, _cast(kind, operand))
    return _text(operator, str(value).lower(), str(operand).lower())


def _among(kind: str, operator: str, value: Any, operands: list[Any]) -> bool:
    cast = [_cast(kind, operand) for operand in operands]
    value = _cast(kind, value) if kind == "timestamp" else value
    if operator in ("_in", "_nin"):
        return (value in cast) is (operator == "_in")
    low, high = cast[:2]
    return bool(low <= value <= high) is (operator == "_between")


def _ordered(operator: str, value: Any, operand: Any) -> bool:
    if operator.startswith("_lt"):
        return bool(value < operand or (operator == "_lte" and value == operand))
    return bool(value > operand or (operator == "_gte" and value == operand))


def _text(operator: str, value: str, operand: str) -> bool:
    name = operator.removeprefix("_")
    negative = name.startswith("n")
    if "contains" in name:
        found = operand in value
    elif "starts" in name:
        found = value.startswith(operand)
    else:
        found = value.endswith(operand)
    return found is not negative


def _cast(kind: str, operand: Any) -> Any:
    convert = CONVERSIONS.get(kind)
    if convert is None or operand is None:
        return operand if kind == "boolean" else str(operand)
    try:
        return convert(operand)
    except (TypeError, ValueError):
        raise invalid_query(f'"{operand}" is not a valid {kind}') from None


def _as_list(operand: Any) -> list[Any]:
    return operand.split(",") if isinstance(operand, str) else list(operand)


def _truth(operand: Any) -> bool:
    # In an address the operand is text.
    return operand not in (False, "false", "0", 0)
