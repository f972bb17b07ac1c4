"""Django's ``Q`` as a Directus filter.

A ``Q`` is recognised by its attributes, so that the client needs no Django.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import TYPE_CHECKING, Any, TypeGuard

from directus_realtime.protocol.queries import Filter, check_filter

if TYPE_CHECKING:
    from django.db.models import Q

# By Django's lookup: Directus's operator, and its opposite.
_OPERATORS = {
    "exact": ("_eq", "_neq"),
    "in": ("_in", "_nin"),
    "lt": ("_lt", "_gte"),
    "lte": ("_lte", "_gt"),
    "gt": ("_gt", "_lte"),
    "gte": ("_gte", "_lt"),
    "range": ("_between", "_nbetween"),
    "contains": ("_contains", "_ncontains"),
    "icontains": ("_icontains", "_nicontains"),
    "startswith": ("_starts_with", "_nstarts_with"),
    "istartswith": ("_istarts_with", "_nistarts_with"),
    "endswith": ("_ends_with", "_nends_with"),
    "iendswith": ("_iends_with", "_niends_with"),
}
_FUNCTIONS = frozenset({"year", "month", "week", "day", "weekday", "hour", "minute", "second"})
# Lookups of Django without an operator of Directus.
_UNMAPPED = frozenset(
    {
        *("iexact", "regex", "iregex", "search", "date", "time", "quarter"),
        *("week_day", "iso_week_day", "iso_year"),
        *("has_key", "has_keys", "has_any_keys", "contained_by", "overlap"),
    }
)


def to_directus_filter(condition: Q | Filter | None) -> Filter:
    """Convert a ``Q`` or a Directus filter to a checked Directus filter.

    Args:
        condition: ``Q(status="published")``, ``{"status": {"_eq": "published"}}`` or
            ``None`` for all items.

    Raises:
        ValueError: A lookup without an operator of Directus, an unknown operator, or a value
            that cannot be part of a filter.
    """
    if condition is None:
        return {}
    try:
        filter_: Filter = (
            to_plain(condition) if isinstance(condition, dict) else _group(condition, negated=False)
        )
    except RecursionError:
        raise ValueError("The filter is nested too deep.") from None
    check_filter(filter_)
    return filter_


def _group(condition: Q, *, negated: bool) -> Filter:
    negated = negated != condition.negated
    if condition.connector == "XOR":
        raise ValueError("Directus has no filter for Q's ^ (XOR).")
    parts = [
        _group(child, negated=negated) if _is_q(child) else _condition(child, negated)
        for child in condition.children
    ]
    if len(parts) <= 1:
        return parts[0] if parts else {}
    # De Morgan: not (a and b) is (not a) or (not b).
    is_and = (condition.connector == "AND") != negated
    return {"_and" if is_and else "_or": parts}


def _condition(child: Any, negated: bool) -> Filter:
    if not isinstance(child, tuple | list):
        raise ValueError(f"{child!r} cannot be written as a Directus filter.")
    lookup, value = child
    path, operation = _operation(lookup, to_plain(value), negated)
    filter_: Filter = operation
    for name in reversed(path):
        filter_ = {name: filter_}
    return filter_


def _operation(lookup: str, value: Any, negated: bool) -> tuple[list[str], Filter]:
    *path, last = lookup.split("__")
    if last == "isnull" and path:
        return _with_function(path), {"_null" if bool(value) != negated else "_nnull": True}
    if last in _UNMAPPED and path:
        raise ValueError(
            f"The lookup {last!r} of {lookup!r} has no Directus operator. Mapped are: "
            f"{', '.join([*sorted(_OPERATORS), 'isnull'])}; or write the Directus filter itself."
        )
    if last not in _OPERATORS or not path:
        path, last = [*path, last], "exact"
    if value is None and last == "exact":
        return _with_function(path), {"_nnull" if negated else "_null": True}
    return _with_function(path), {_OPERATORS[last][negated]: value}


def _with_function(path: list[str]) -> list[str]:
    """Convert ``["published_on", "year"]`` to Directus's ``["year(published_on)"]``."""
    if len(path) > 1 and path[-1] in _FUNCTIONS:
        return [*path[:-2], f"{path[-1]}({path[-2]})"]
    return path


def _is_q(child: object) -> TypeGuard[Q]:
    return hasattr(child, "connector") and hasattr(child, "negated")


def to_plain(value: Any) -> Any:
    """Convert a value to one of JSON: dates, decimals and UUIDs become strings.

    Raises:
        ValueError: A part of it cannot be sent.
    """
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, dict):
        return {name: to_plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset | range):
        return [to_plain(entry) for entry in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | uuid.UUID):
        return str(value)
    raise ValueError(f"{value!r} cannot be sent to Directus: it is no value of JSON.")
