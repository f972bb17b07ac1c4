from __future__ import annotations

from typing import Any

import pytest

from directus_realtime.gateway.operands import Operands, compare, to_operand

NOON = "2026-11-26T12:00:00.000Z"


@pytest.mark.parametrize(
    ("one", "other", "order"),
    [
        (1, 2, -1),
        (2, 1.5, 1),
        (0.1, "0.10", 0),
        ("12.50", 12.5, 0),
        ("9", 10, -1),
        (2**80, 2**80 + 1, -1),
        ("b", "a", 1),
        ("B", "a", -1),
        ("a", "a", 0),
        (NOON, "2026-11-26T13:00:00+01:00", 0),
        (NOON, "2026-11-26T12:00:00", 0),
        (NOON, "2026-11-26", 1),
        ("2026-11-26", "2026-11-27", -1),
        (True, True, 0),
        # Directus's decimals and texts of digits look alike.
        ("9", "10", None),
        ("10", "20", -1),
        ("1.0", "1.00", None),
        # not comparable
        (True, False, None),
        (True, 1, None),
        (1, "one", None),
        ("010", 10, None),
        ("1e3", 1000, None),
        (None, 1, None),
        (None, None, None),
        ({}, {}, None),
        ([1], 1, None),
        (float("nan"), 1, None),
        (float("inf"), 1, None),
        (2**500, 1, None),
        ("2026-02-31", "2026-02-30", 1),  # no days, so they are texts
    ],
)
def test_order(one: Any, other: Any, order: int | None) -> None:
    assert compare(to_operand(one), to_operand(other)) == order
    assert compare(to_operand(other), to_operand(one)) == (None if order is None else -order)


@pytest.mark.parametrize(
    ("value", "others", "is_in", "is_not_in"),
    [
        (1, [1, 2], True, False),
        (3, [1, 2], False, True),
        (3, ["1", "2"], False, True),
        (2, ["1", "2.0"], True, False),
        ("a", ["a", "b"], True, False),
        ("c", ["a", "b"], False, True),
        ("c", ["a", 1], False, False),
        ("12.50", [12.5], True, False),
        ("12.50", ["12.5"], False, False),
        ("12.50", ["13"], False, True),
        ("12.50", [13, "14"], False, True),
        (3, [1, "a"], False, False),
        (True, [True], True, False),
        (True, [False], False, True),
        (True, [1], False, False),
        (NOON, ["2026-11-26T12:00:00Z"], True, False),
        (NOON, ["2026-11-26"], False, True),
        (1, [], False, True),
        (None, [], False, False),
        (None, [1], False, False),
        ({}, [1], False, False),
        ([], ["a"], False, False),
    ],
)
def test_equality(value: Any, others: list[Any], is_in: bool, is_not_in: bool) -> None:
    operands = Operands(map(to_operand, others))
    assert (operands.contain(value), operands.exclude(value)) == (is_in, is_not_in)


@pytest.mark.parametrize("value", ["9" * 100_000, "1." + "0" * 100_000, "-" * 100_000, "٣"])
def test_a_long_text_of_digits_is_a_text(value: str) -> None:
    assert to_operand(value).number is None
