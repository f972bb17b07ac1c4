from __future__ import annotations

from typing import Any

import pytest

from directus_realtime.gateway.browser_view import ordered


@pytest.mark.parametrize(
    ("values", "ascending"),
    [
        ([3, None, 1.5, 2], [None, 1.5, 2, 3]),
        (["10.00", "9.00", None], [None, "9.00", "10.00"]),
        (["b", "B", "a"], ["B", "a", "b"]),
        (["b", "10", "9"], ["10", "9", "b"]),
        (
            ["2026-11-26T12:00:00Z", "2026-11-26T12:30:00+01:00"],
            ["2026-11-26T12:30:00+01:00", "2026-11-26T12:00:00Z"],
        ),
        ([True, False, None], [None, False, True]),
        ([{"a": 1}, "x", [2], 1], [{"a": 1}, [2], 1, "x"]),
    ],
)
def test_order_of_values(values: list[Any], ascending: list[Any]) -> None:
    rows = [{"v": value} for value in values]
    assert [row["v"] for row in ordered(rows, ["v"])] == ascending


def test_several_fields_and_directions() -> None:
    rows = [{"a": a, "b": {"c": c}} for a, c in [(1, 1), (2, 1), (1, 2), (2, 2)]]
    assert [(r["a"], r["b"]["c"]) for r in ordered(rows, ["-a", "b.c"])] == [
        (2, 1),
        (2, 2),
        (1, 1),
        (1, 2),
    ]


def test_equals_keep_their_order_in_both_directions() -> None:
    rows = [{"a": 1, "n": n} for n in range(3)]
    assert [row["n"] for row in ordered(rows, ["a"])] == [0, 1, 2]
    assert [row["n"] for row in ordered(rows, ["-a"])] == [0, 1, 2]


def test_a_field_that_is_not_there_orders_nothing() -> None:
    rows = [{"a": 2}, {"a": 1}]
    assert ordered(rows, ["nothing", "a.b.c"]) == rows
    assert ordered(rows, []) == rows
