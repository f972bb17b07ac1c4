from __future__ import annotations

from typing import Any

from directus_realtime.client.feed import copied


def test_a_copy_shares_nothing_that_can_be_changed() -> None:
    value: Any = {"a": [1, {"b": "c"}, [None]], "d": {"e": {}}, "f": 1.5}
    copy = copied(value)
    assert copy == value
    copy["a"][1]["b"] = copy["d"]["e"]["x"] = "changed"
    copy["a"][2].append("changed")
    assert value == {"a": [1, {"b": "c"}, [None]], "d": {"e": {}}, "f": 1.5}


def test_what_is_no_container_is_its_own_copy() -> None:
    assert copied(None) is None


def test_any_depth_can_be_copied() -> None:
    value: Any = ["innermost"]
    for _ in range(100_000):
        value = {"nested": [value]}
    copy, depth = copied(value), 0
    while isinstance(copy, dict):
        copy, depth = copy["nested"][0], depth + 1
    assert (copy, depth) == (["innermost"], 100_000)
