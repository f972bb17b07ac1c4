from __future__ import annotations

from typing import Any

import pytest

from directus_realtime.gateway.browser_view import UNKNOWN, BrowserView, Seen

ALL = ("create", "update", "delete")
MINE = {"owner": {"_eq": "me"}}
MY_ROW = {"id": 1, "owner": "me", "title": "a"}
OTHERS_ROW = {"id": 1, "owner": "you", "title": "a"}
SHOWN = Seen("update", {"id": 1, "title": "a"})
GONE = Seen("delete", 1)


def view(**values: Any) -> BrowserView:
    given = {"actions": ALL, "fields": ("id", "title"), **values}
    return BrowserView(offer_name="a", fingerprint="f", **given)


EVERYTHING = view()
FILTERED = view(filter=MINE)
RESTRICTED = view(filter=MINE, is_restricted=True)


@pytest.mark.parametrize("previous", [UNKNOWN, None, MY_ROW, OTHERS_ROW])
@pytest.mark.parametrize("action", ["create", "update"])
@pytest.mark.parametrize("seen_by", [EVERYTHING, FILTERED, RESTRICTED])
def test_an_item_that_passes_is_shown_with_the_fields_of_the_view(
    seen_by: BrowserView, action: Any, previous: Any
) -> None:
    assert seen_by.see(action, 1, MY_ROW, previous) == Seen(action, {"id": 1, "title": "a"})


@pytest.mark.parametrize(
    ("seen_by", "previous", "seen"),
    [
        (EVERYTHING, UNKNOWN, GONE),
        (EVERYTHING, None, GONE),
        (EVERYTHING, OTHERS_ROW, GONE),
        (FILTERED, UNKNOWN, GONE),
        (FILTERED, None, None),
        (FILTERED, OTHERS_ROW, None),
        (FILTERED, MY_ROW, GONE),
        (RESTRICTED, UNKNOWN, None),
        (RESTRICTED, None, None),
        (RESTRICTED, OTHERS_ROW, None),
        (RESTRICTED, MY_ROW, GONE),
    ],
)
def test_a_delete(seen_by: BrowserView, previous: Any, seen: Seen | None) -> None:
    assert seen_by.see("delete", 1, None, previous) == seen


@pytest.mark.parametrize(
    ("seen_by", "previous", "seen"),
    [
        (FILTERED, UNKNOWN, None),
        (FILTERED, None, None),
        (FILTERED, OTHERS_ROW, None),
        (FILTERED, MY_ROW, GONE),
        (RESTRICTED, UNKNOWN, None),
        (RESTRICTED, OTHERS_ROW, None),
        (RESTRICTED, MY_ROW, GONE),
    ],
)
def test_an_update_that_takes_an_item_out_of_the_view_is_a_delete(
    seen_by: BrowserView, previous: Any, seen: Seen | None
) -> None:
    assert seen_by.see("update", 1, OTHERS_ROW, previous) == seen


@pytest.mark.parametrize(
    ("actions", "action", "row", "previous", "seen"),
    [
        (("create",), "update", MY_ROW, UNKNOWN, None),
        (("create",), "delete", None, MY_ROW, None),
        (("create",), "update", OTHERS_ROW, MY_ROW, None),
        (("update",), "update", MY_ROW, UNKNOWN, SHOWN),
        (("update",), "update", OTHERS_ROW, MY_ROW, None),
        (("delete",), "update", OTHERS_ROW, MY_ROW, GONE),
        (("delete",), "update", MY_ROW, MY_ROW, None),
        (("delete",), "delete", None, MY_ROW, GONE),
    ],
)
def test_only_wanted_actions_are_told(
    actions: Any, action: Any, row: Any, previous: Any, seen: Seen | None
) -> None:
    assert view(actions=actions, filter=MINE).see(action, 1, row, previous) == seen


@pytest.mark.parametrize(("item", "is_seen"), [(1, True), ("1", True), (2, False), ("", False)])
def test_one_item_only(item: Any, is_seen: bool) -> None:
    of_one = view(item=item)
    assert (of_one.see("update", 1, MY_ROW, UNKNOWN) is not None) is is_seen
    assert (of_one.see("delete", "1", None, UNKNOWN) is not None) is is_seen


def test_a_change_without_a_row_tells_nothing() -> None:
    assert EVERYTHING.see("update", 1, None, UNKNOWN) is None
    assert FILTERED.see("create", 1, None, UNKNOWN) is None


def test_a_view_of_everything_looks_at_no_value() -> None:
    assert EVERYTHING.see("update", 1, {"id": 1}, None) == Seen("update", {"id": 1})


ROWS = [
    {"id": n, "owner": "me" if n % 2 else "you", "title": title}
    for n, title in enumerate("dacb", start=1)
]


@pytest.mark.parametrize(
    ("values", "titles"),
    [
        ({"limit": 10}, "dacb"),
        ({"limit": 2}, "da"),
        ({"limit": 0}, ""),
        ({"limit": 10, "filter": MINE}, "dc"),
        ({"limit": 1, "filter": {"owner": "you"}, "sort": ("title",)}, "a"),
        ({"limit": 2, "sort": ("-title",)}, "dc"),
        ({"limit": 10, "item": "3"}, "c"),
    ],
)
def test_first_load(values: dict[str, Any], titles: str) -> None:
    rows = view(**values).select(ROWS)
    assert [row["title"] for row in rows] == list(titles)
    assert all(set(row) == {"id", "title"} for row in rows)


def test_first_load_of_one_item_by_another_key() -> None:
    rows = [{"slug": "a", "id": 1}, {"slug": "b", "id": 2}]
    found = view(item="b", limit=5, fields=("*",)).select(rows, primary_key="slug")
    assert found == [{"slug": "b", "id": 2}]


@pytest.mark.parametrize(
    "other",
    [
        {"actions": ("create",)},
        {"fields": ("id",)},
        {"filter": {"owner": {"_eq": "you"}}},
        {"filter": {"owner": {"_eq": 1}}},
        {"filter": {"owner": {"_eq": True}}},
        {"is_restricted": True},
        {"item": 1},
    ],
)
def test_views_that_see_something_else_have_another_key(other: dict[str, Any]) -> None:
    keys = {view(filter=MINE).key, view(**{"filter": MINE, **other}).key}
    assert len(keys) == 2


def test_the_key_of_equal_views_is_equal_whatever_their_first_load() -> None:
    keys = {
        view(filter=dict(MINE), item=1).key,
        view(filter=dict(MINE), item="1", sort=("id",), limit=5, fields=("title", "id")).key,
    }
    assert len(keys) == 1
