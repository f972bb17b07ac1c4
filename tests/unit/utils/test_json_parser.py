from __future__ import annotations

from typing import Any

import pytest

from directus_realtime.utils.json_parser import (
    MAX_DEPTH,
    NestedTooDeeply,
    copy_json,
    parse_json,
)


def nested(opening: str, closing: str, depth: int) -> str:
    return opening * depth + "1" + closing * depth


@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")])
def test_json_is_parsed_up_to_a_depth(brackets: tuple[str, str]) -> None:
    # Some levels less than the limit: on Python 3.11 the call stack counts as well.
    value: Any = parse_json(f'[0, {nested(*brackets, MAX_DEPTH - 100)}, "]"]')
    assert (value[0], value[2]) == (0, "]")


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 100_000])
def test_deeper_json_is_refused(depth: int) -> None:
    with pytest.raises(NestedTooDeeply):
        parse_json(nested("[", "]", depth))


@pytest.mark.parametrize("text", ["", "{", "hello", b"\x80"])
def test_other_text_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"Expecting|can't decode") as caught:
        parse_json(text)
    assert not isinstance(caught.value, NestedTooDeeply)


@pytest.mark.parametrize("text", ["7", "null", '"[[["', "[]", "{}"])
def test_scalars_and_empty_containers_are_parsed(text: str) -> None:
    assert parse_json(text) in (7, None, "[[[", [], {})


def test_a_copy_shares_nothing_mutable() -> None:
    value: Any = {"a": [1, {"b": "c"}, [None]], "d": {"e": {}}, "f": 1.5, "g": "\ud800"}
    copy = copy_json(value)
    assert copy == value
    copy["a"][1]["b"] = copy["d"]["e"]["x"] = "changed"
    copy["a"][2].append("changed")
    assert value == {"a": [1, {"b": "c"}, [None]], "d": {"e": {}}, "f": 1.5, "g": "\ud800"}
