from __future__ import annotations

from typing import Any

import pytest

from directus_realtime.gateway.browser_view import field_tree, narrow

ROW = {
    "id": 1,
    "title": "a",
    "meta": {"json": [1, {"a": None}]},
    "author": {"id": 7, "name": "Ann", "salary": 10, "team": {"id": 3, "name": "x"}},
    "tags": [{"id": 1, "name": "t", "hidden": 1}, {"id": 2, "name": "u", "hidden": 2}],
    "editor": None,
    "topic": 5,
}


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ([], ROW),
        (["*"], ROW),
        (["title"], {"title": "a"}),
        (["title", "id"], {"id": 1, "title": "a"}),
        (["nothing"], {}),
        (["author.name"], {"author": {"name": "Ann"}}),
        (["author.*"], {"author": ROW["author"]}),
        (["author.team.name"], {"author": {"team": {"name": "x"}}}),
        (["tags.name"], {"tags": [{"name": "t"}, {"name": "u"}]}),
        (["meta"], {"meta": ROW["meta"]}),
        (["editor.name"], {"editor": None}),
        (["topic.name"], {}),
        (["topic", "topic.name"], {"topic": 5}),
        (["item:pages.title"], {}),
        (["*", "author.name"], {**ROW, "author": {"name": "Ann"}}),
        (
            ["*.name"],
            {
                "id": 1,
                "title": "a",
                "meta": {},
                "author": {"name": "Ann"},
                "tags": [{"name": "t"}, {"name": "u"}],
                "editor": None,
                "topic": 5,
            },
        ),
    ],
)
def test_what_is_shown(fields: list[str], shown: dict[str, Any]) -> None:
    assert field_tree(fields).project(ROW) == shown


def test_the_item_of_any_collection_and_a_function_are_found_where_directus_puts_them() -> None:
    row = {"item": {"title": "a", "body": "b"}, "tags_count": 2, "other": 1}
    assert field_tree(["item:pages.title", "count(tags)"]).project(row) == {
        "item": {"title": "a"},
        "tags_count": 2,
    }


def test_keys_of_related_items_are_not_shown_where_only_their_fields_are() -> None:
    assert field_tree(["tags.name"]).project({"tags": [1, 2]}) == {"tags": []}


@pytest.mark.parametrize(
    ("offered", "asked", "given"),
    [
        ([], ["*"], ["*"]),
        ([], ["title"], ["title"]),
        ([], ["author.name"], None),
        (["id", "title"], ["*"], ["id", "title"]),
        (["id", "title"], ["title"], ["title"]),
        (["id", "title"], ["title", "secret"], None),
        (["id", "title"], ["title.*"], None),
        (["author.name"], ["author"], None),
        (["author.name"], ["author.*"], ["author.name"]),
        (["author.name"], ["author.salary"], None),
        (["author.name"], ["author.name.first"], None),
        (["author.name"], ["*"], ["author.name"]),
        (["*", "author.name"], ["author"], ["author", "author.name"]),
        (["*", "author.name"], ["title"], ["title"]),
        (["*.*"], ["author.name"], ["author.name"]),
        (["*.*"], ["author.team.name"], None),
        (["id", "author.name", "author.id"], ["*.name"], ["author.id", "author.name", "id"]),
        (["count(tags)"], ["count(tags)"], ["tags_count"]),
        (["item:pages.title"], ["item:pages.title"], ["item.title"]),
    ],
)
def test_a_browser_only_narrows(
    offered: list[str], asked: list[str], given: list[str] | None
) -> None:
    found = narrow(offered, asked)
    assert (None if found is None else sorted(found)) == given


@pytest.mark.parametrize(
    ("fields", "path", "is_covered"),
    [
        ([], "title", True),
        ([], "author.name", False),
        (["title"], "title", True),
        (["title"], "secret", False),
        (["title"], "title.x", False),
        (["author.name"], "author", False),
        (["author.name"], "author.name", True),
        (["author.*"], "author.name", True),
        (["*.*"], "author.name", True),
        (["*.*"], "author.team.name", False),
    ],
)
def test_what_a_filter_may_look_at(fields: list[str], path: str, is_covered: bool) -> None:
    assert field_tree(fields).covers(tuple(path.split("."))) is is_covered
