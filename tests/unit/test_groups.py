from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from channels.layers import BaseChannelLayer

from directus_realtime.events import Event
from directus_realtime.groups import (
    connection_group_name,
    connection_message,
    event_groups,
    event_message,
    group_name,
    is_legal_group_name,
)

ODD_NAMES = [
    "",
    " ",
    "my articles",
    "ärtikel",
    "a/b",
    "a:b",
    "a.b",
    "articles\n",
    "x" * 85,
    "x" * 500,
    "\ud800",
    "\0",
    "🙂",
]


def channels_takes(name: str) -> bool:
    """What Channels' own check of a group's name says."""
    try:
        return bool(BaseChannelLayer().require_valid_group_name(name))
    except TypeError:
        return False


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (group_name("articles"), "directus.articles"),
        (group_name("directus_users"), "directus.directus_users"),
        (group_name("articles", key=42), "directus.articles.42"),
        (group_name("articles", key="a1-b2"), "directus.articles.a1-b2"),
        (group_name("articles", connection="blog"), "directus-blog.articles"),
        (group_name("articles", key=0), "directus.articles.0"),
    ],
)
def test_plain_names_are_readable(name: str, expected: str) -> None:
    assert name == expected
    assert channels_takes(name)


def test_a_key_is_the_same_as_number_and_as_string() -> None:
    assert group_name("articles", key=42) == group_name("articles", key="42")


@pytest.mark.parametrize("odd", ODD_NAMES)
def test_every_collection_and_key_makes_a_legal_name(odd: str) -> None:
    longest_alias = "a" * 40
    for name in (
        group_name(odd),
        group_name(odd, connection=longest_alias),
        group_name("articles", key=odd),
        group_name(odd, key=odd, connection=longest_alias),
    ):
        assert channels_takes(name)
        assert "\n" not in name
        assert is_legal_group_name(name)


def test_different_items_have_different_groups() -> None:
    names = [group_name(odd) for odd in ODD_NAMES]
    names += [group_name("articles", key=odd) for odd in ODD_NAMES]
    names += [group_name("articles", connection="blog"), group_name("articles")]
    names += [group_name("a", key="b.c"), group_name("a.b", key="c"), group_name("a.b.c")]
    # "a.b.c" as a collection is not the item "b.c" of "a".
    assert len(set(names)) == len(names)


def test_no_group_of_items_is_the_group_of_a_connection() -> None:
    aliases = ["default", "blog", "connection", "connection_"]
    states = {connection_group_name(alias) for alias in aliases}
    items = {group_name(collection, connection=a) for collection in aliases for a in aliases}
    assert not states & items


def test_the_group_of_a_connection_is_legal() -> None:
    assert connection_group_name() == "directus_connection.default"
    assert channels_takes(connection_group_name("a" * 40))


@pytest.mark.parametrize(
    "name", ["a", "news-live", "A.b_c-9", "x" * 99, "x" * 100, "", "a b", "ä", "a:b", "a/b", "."]
)
def test_legal_is_what_channels_takes(name: str) -> None:
    assert is_legal_group_name(name) == channels_takes(name)


def test_a_trailing_newline_is_not_legal() -> None:
    # Channels lets it through, because its pattern ends with "$".
    assert not is_legal_group_name("news\n")


@pytest.fixture
def event() -> Event:
    return Event(
        id="5c4e7c3e-0000-4000-8000-000000000001",
        connection="default",
        subscription="all",
        collection="articles",
        action="update",
        key=42,
        data={"id": 42, "title": "x"},
        received_at=datetime(2026, 11, 23, 12, tzinfo=UTC),
    )


def test_an_event_goes_to_its_collection_and_its_item(event: Event) -> None:
    assert event_groups(event) == ("directus.articles", "directus.articles.42")


def test_an_own_group_replaces_the_collections(event: Event) -> None:
    assert event_groups(event, "news") == ("news", "directus.articles.42")


def test_the_message_of_an_event(event: Event) -> None:
    message = event_message(event)
    assert message == {
        "type": "directus.event",
        "id": "5c4e7c3e-0000-4000-8000-000000000001",
        "connection": "default",
        "subscription": "all",
        "collection": "articles",
        "action": "update",
        "key": 42,
        "data": {"id": 42, "title": "x"},
        "origin": "live",
        "left_filter": False,
        "received_at": "2026-11-23T12:00:00+00:00",
    }
    assert json.loads(json.dumps(message)) == message


def test_the_message_of_an_item_that_left_the_filter_does_not_show_it(event: Event) -> None:
    message = event_message(replace(event, left_filter=True))
    assert (message["action"], message["key"], message["data"]) == ("update", 42, None)
    assert message["left_filter"]


def test_the_message_of_a_connection() -> None:
    assert connection_message("default", "reconnecting", "why") == {
        "type": "directus.connection",
        "connection": "default",
        "state": "reconnecting",
        "reason": "why",
    }
