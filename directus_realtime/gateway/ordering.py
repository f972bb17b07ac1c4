"""The order of the items of a first load."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from directus_realtime.gateway.operands import Operand, to_operand
from directus_realtime.gateway.projection import Path, to_path

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
