from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext

from directus_realtime.admin import inbox_change_list
from directus_realtime.models import InboxEvent
from tests.helpers.admin import subscription, url, user_who_may
from tests.helpers.inbox import FAILURES, add_row, dead_letter, new_row

pytestmark = pytest.mark.django_db

INBOX = "inboxevent"


def keys(response: Any) -> list[int]:
    return [int(row.key_json) for row in response.context["cl"].result_list]


def add_rows(count: int, **values: Any) -> None:
    InboxEvent.objects.bulk_create(new_row(key=number, **values) for number in range(count))


def follow(client: Client, response: Any, name: str) -> Any:
    link = getattr(response.context["cl"], f"{name}_url")
    assert link
    return client.get(url(INBOX) + link)


def test_pages__older_and_newer_lead_through_all(admin_client: Client) -> None:
    add_rows(120)
    page = admin_client.get(url(INBOX))
    assert keys(page) == list(range(119, 69, -1))
    assert not page.context["cl"].newer_url
    page = follow(admin_client, page, "older")
    assert keys(page) == list(range(69, 19, -1))
    page = follow(admin_client, page, "older")
    assert keys(page) == list(range(19, -1, -1))
    assert not page.context["cl"].older_url
    page = follow(admin_client, page, "newer")
    assert keys(page) == list(range(69, 19, -1))
    page = follow(admin_client, page, "oldest")
    assert keys(page) == list(range(49, -1, -1))
    page = follow(admin_client, page, "newest")
    assert keys(page) == list(range(119, 69, -1))


@pytest.mark.parametrize("cursor", ["before-x", "before-0", "after-99999999999", "7", "é", ""])
def test_pages__a_cursor_that_leads_nowhere_is_no_error(admin_client: Client, cursor: str) -> None:
    add_rows(3)
    assert admin_client.get(url(INBOX), {"p": cursor}).status_code == 200


def test_pages__an_empty_inbox(admin_client: Client) -> None:
    page = admin_client.get(url(INBOX))
    assert keys(page) == []
    assert "0 events" in page.content.decode()


def test_look__a_page_looks_through_a_span_and_says_so(
    admin_client: Client, monkeypatch: Any
) -> None:
    monkeypatch.setattr(inbox_change_list, "SEARCHED", 100)
    add_row(key=1, collection="rare")
    add_rows(150)
    page = admin_client.get(url(INBOX), {"collection__exact": "rare"})
    assert keys(page) == []
    assert "Look further back" in page.content.decode()
    page = follow(admin_client, page, "older")
    assert keys(page) == [1]
    assert "Look further back" not in page.content.decode()
    page = follow(admin_client, page, "newer")
    assert keys(page) == []


@pytest.mark.parametrize(
    "query",
    [
        {"state__exact": "dead"},
        {"state__exact": "dead", "subscription__exact": "all"},
        {"connection__exact": "blog"},
        {"q": "00000000-0000-4000-8000-000000000001"},
    ],
    ids=str,
)
def test_look__where_an_index_leads_there_it_is_found_at_once(
    admin_client: Client, monkeypatch: Any, query: dict[str, str]
) -> None:
    monkeypatch.setattr(inbox_change_list, "SEARCHED", 100)
    event_id = "00000000-0000-4000-8000-000000000001"
    dead_letter(key=1, connection="blog", event_id=event_id)
    add_rows(150, state="done")
    assert keys(admin_client.get(url(INBOX), query)) == [1]


@pytest.mark.parametrize("newer", ["done", "merged"])
def test_look__a_state_of_many_is_no_way_around_it(
    admin_client: Client, monkeypatch: Any, newer: str
) -> None:
    monkeypatch.setattr(inbox_change_list, "SEARCHED", 100)
    add_row(key=1, collection="rare", state=newer)
    add_rows(150, state=newer)
    query = {"state__exact": newer, "collection__exact": "rare"}
    assert keys(admin_client.get(url(INBOX), query)) == []


def test_total__of_a_small_inbox_is_counted(admin_client: Client) -> None:
    add_rows(120)
    assert "120 events" in admin_client.get(url(INBOX)).content.decode()


def test_total__of_a_large_one_is_counted_up_to_a_limit(
    admin_client: Client, monkeypatch: Any
) -> None:
    limited = inbox_change_list.Count(10_000, is_exact=False)
    monkeypatch.setattr(inbox_change_list, "count_up_to", lambda rows: limited)
    add_row()
    assert "more than 10,000 events" in admin_client.get(url(INBOX)).content.decode()


@pytest.mark.parametrize(("number", "found"), [(0, (0, True)), (3, (3, True)), (4, (3, False))])
def test_count__stops_at_the_limit(number: int, found: tuple[int, bool]) -> None:
    add_rows(number)
    counted = inbox_change_list.count_up_to(InboxEvent.objects.all(), 3)
    assert counted == inbox_change_list.Count(*found)


def test_total__dead_letters_are_counted(admin_client: Client) -> None:
    for number in range(3):
        dead_letter(key=number)
    add_rows(5, state="done")
    page = admin_client.get(url(INBOX), {"state__exact": "dead"})
    assert "3 events" in page.content.decode()
    assert page.context["cl"].result_count == 3


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"state__exact": "done"},
        {"collection__exact": "articles", "action__exact": "update"},
        {"origin__exact": "replay"},
        {"q": "42"},
        {"p": "after-0"},
        {"_facets": "True"},
    ],
    ids=str,
)
def test_queries__few_and_none_counts_or_sorts_the_whole_table(
    admin_client: Client, query: dict[str, str]
) -> None:
    for number in range(120):
        subscription(f"s-{number}", collection=f"c-{number}")
    add_rows(150, state="done", failures=FAILURES)
    with CaptureQueriesContext(
        database,
    ) as found:
        assert admin_client.get(url(INBOX), query).status_code == 200
    assert len(found) <= 15
    inbox = [q["sql"] for q in found if "directus_realtime_inboxevent" in q["sql"]]
    assert inbox
    for sql in inbox:
        assert "LIMIT" in sql or "WHERE" in sql, sql
        assert "DISTINCT" not in sql
        assert 'data_json"' not in sql, "payloads may be large"


def test_queries__the_page_of_an_event(admin_client: Client) -> None:
    row = dead_letter()
    with CaptureQueriesContext(database) as found:
        assert admin_client.get(url(INBOX, "change", row.pk)).status_code == 200
    assert len(found) <= 15


def test_filters__collections_are_those_of_the_subscriptions(admin_client: Client) -> None:
    subscription("a", collection="articles")
    subscription("b", collection="articles")
    subscription("c", collection="authors")
    content = admin_client.get(url(INBOX)).content.decode()
    assert content.count("collection__exact=articles") == 1
    assert content.count("collection__exact=authors") == 1


def test_filters__subscriptions_are_those_of_the_collection_and_not_too_many(
    admin_client: Client, monkeypatch: Any
) -> None:
    monkeypatch.setattr(inbox_change_list, "_OFFERED", 3)
    for name in ("a", "b", "c", "d"):
        subscription(name)
    subscription("e", collection="authors")
    add_row(subscription="e", collection="authors", key=1)
    add_row(subscription="gone", collection="authors", key=2)

    def offered(**query: str) -> list[str]:
        content = admin_client.get(url(INBOX), query).content.decode()
        return [name for name in "abcde" if f"subscription__exact={name}" in content]

    assert offered() == ["a", "b", "c"]
    assert offered(collection__exact="authors") == ["e"]
    for name, key in (("e", 1), ("gone", 2)):
        page = admin_client.get(url(INBOX), {"subscription__exact": name})
        assert keys(page) == [key]


def test_list__tells_the_subscription_of_each_event(admin_client: Client) -> None:
    add_row(subscription="a<b", origin="catch-up")
    content = admin_client.get(url(INBOX)).content.decode()
    assert 'articles<span class="directus-quiet">a&lt;b</span>' in content
    assert 'update<span class="directus-quiet">catch-up</span>' in content


def test_filters__a_collection_without_a_subscription_can_be_asked_for(
    admin_client: Client,
) -> None:
    add_row(key=1, collection="gone")
    page = admin_client.get(url(INBOX), {"collection__exact": "gone"})
    assert keys(page) == [1]
    assert "gone</a>" in page.content.decode()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("42", {42, "42"}),
        ('"42"', {"42"}),
        ("4", set()),
        ("a1b2", {"a1b2"}),
        ("é", {"é"}),
        ("[1", set()),
        ("'; DROP", set()),
    ],
)
def test_search__by_key_whatever_its_type(
    admin_client: Client, query: str, found: set[Any]
) -> None:
    for key in (42, "42", "a1b2", "é", 7):
        add_row(key=key)
    rows = admin_client.get(url(INBOX), {"q": query}).context["cl"].result_list
    assert {row.to_event().key for row in rows} == found


def test_search__by_event_id_or_a_key_that_looks_like_one(admin_client: Client) -> None:
    event_id, key = "00000000-0000-4000-8000-000000000001", "0b8a2cc4-7f5e-4e59-a9ad-2c0b1a2f8a11"
    first, second = add_row(event_id=event_id), add_row(key=key)
    for query, row in ((event_id, first), (key, second)):
        page = admin_client.get(url(INBOX), {"q": query})
        assert list(page.context["cl"].result_list) == [row]


def test_receivers__are_named_with_their_outcome(admin_client: Client) -> None:
    dead_letter(receiver="app.receivers.index_article", delivered=["app.receivers.purge"])
    content = admin_client.get(url(INBOX)).content.decode()
    assert "directus-outcome-failed" in content
    assert "index_article" in content
    assert "purge" in content


def test_rights__view_is_enough_to_look(client: Client) -> None:
    client.force_login(user_who_may("view_inboxevent"))
    row = dead_letter()
    assert client.get(url(INBOX)).status_code == 200
    content = client.get(url(INBOX, "change", row.pk)).content.decode()
    assert "Retry now" not in content
    assert "Replay" not in content


def test_rights__without_view_nothing_is_seen(client: Client) -> None:
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    assert client.get(url(INBOX)).status_code == 403
