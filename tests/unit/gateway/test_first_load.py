from __future__ import annotations

from typing import Any

from directus_realtime.client.items import Newest
from directus_realtime.gateway.first_load import FirstLoad
from directus_realtime.gateway.topics import TopicChange

LIMIT = 3


def row(key: int, title: str = "as read") -> dict[str, Any]:
    return {"id": key, "title": title}


def load(*keys: int, is_all: bool = True) -> FirstLoad:
    """What was read, the newest first."""
    return FirstLoad(Newest([(key, row(key)) for key in keys], is_all, "id"), LIMIT, 0.0)


def told(key: int, title: str | None = "told") -> TopicChange:
    """An event of an item; a delete without a title."""
    new = None if title is None else row(key, title)
    return TopicChange(1, str(key), "update" if new else "delete", key, new, None, "live")


def keys(load: FirstLoad) -> list[int]:
    return [row["id"] for row in load.rows]


def test_a_new_item_comes_first_and_a_known_one_stays_where_it_is() -> None:
    first = load(2, 1)
    first.follow([told(1), told(3)])
    assert first.rows == [row(3, "told"), row(2), row(1, "told")]
    assert first.is_all


def test_one_more_than_wanted_is_not_all() -> None:
    first = load(3, 2, 1)
    first.follow([told(4)])
    assert keys(first) == [4, 3, 2]
    assert not first.is_all


def test_an_item_takes_the_place_of_a_deleted_one() -> None:
    first = load(3, 2, 1)
    first.follow([told(4), told(5), told(5, None), told(3, None)])
    assert keys(first) == [4, 2, 1]


def test_what_is_remembered_does_not_grow() -> None:
    first = load(3, 2, 1)
    first.follow(told(key) for key in range(4, 10_000))
    assert keys(first) == [9_999, 9_998, 9_997]
    assert len(first._rows) == 2 * LIMIT
    assert not first.is_all


def test_what_was_forgotten_leaves_fewer_and_does_not_count_as_all() -> None:
    first = load(3, 2, 1)
    first.follow(told(key) for key in range(4, 10))
    first.follow(told(key, None) for key in range(5, 10))
    assert keys(first) == [4]
    assert not first.is_all
