from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from directus_realtime.admin.subscription_status import SubscriptionStatus, hour_html
from directus_realtime.events import Event
from directus_realtime.models import DirectusSubscription, EventCount, InboxEvent
from tests.helpers.admin import subscription, url, user_who_may

pytestmark = pytest.mark.django_db


def came_in(name: str, events: int, minutes_ago: int) -> None:
    minute = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=minutes_ago)
    EventCount.objects.create(subscription=name, connection="default", minute=minute, events=events)


def dead_letter(name: str = "all") -> None:
    row = InboxEvent.from_event(
        Event(
            connection="default",
            subscription=name,
            collection="articles",
            action="update",
            key=1,
            data={},
        )
    )
    row.state = "dead"
    row.save()


def live(client: Client, *rows: DirectusSubscription) -> Any:
    ids = ",".join(str(row.pk) for row in rows)
    return client.get(url("directussubscription", "live"), {"ids": ids})


def test_the_events_of_the_last_hour_are_shown(admin_client: Client) -> None:
    subscription()
    came_in("all", 3, 0)
    came_in("all", 4, 58)
    came_in("all", 100, 61)
    came_in("other", 50, 1)
    page = admin_client.get(url("directussubscription")).content.decode()
    assert 'aria-label="7 events in the last hour"' in page


def test_bars_are_as_high_as_the_events_of_their_span() -> None:
    bars = (0, 1, 50, 100, *[0] * 8)
    picture = hour_html(SubscriptionStatus(bars))
    heights = [int(n) for n in re.findall(r'<rect [^>]*height="(\d+)"', picture)]
    assert heights[:4] == [1, 2, 8, 16]
    assert picture.count("directus-bar-none") == 9
    assert "style=" not in picture  # a strict Content-Security-Policy forbids it


def test_dead_letters_lead_to_the_inbox(admin_client: Client) -> None:
    subscription("a&b")
    dead_letter("a&b")
    dead_letter("a&b")
    page = admin_client.get(url("directussubscription"))
    (link,) = re.findall(r'class="directus-dead" href="([^"]+)"', page.content.decode())
    inbox = admin_client.get(link.replace("&amp;", "&"))
    assert inbox.context["cl"].result_count == 2


def test_who_may_not_see_the_inbox_gets_the_number_alone(client: Client) -> None:
    client.force_login(user_who_may("view_directussubscription"))
    row = subscription()
    dead_letter()
    assert live(client, row).json()["rows"][str(row.pk)]["dead_column"] == "1"


def test_the_list_is_refreshed_with_what_it_shows(admin_client: Client, listener: Any) -> None:
    first, other = subscription(state="subscribed"), subscription("other")
    page = admin_client.get(url("directussubscription")).content.decode()
    rows = live(admin_client, first).json()["rows"]
    assert list(rows) == [str(first.pk)]
    for cell, html in rows[str(first.pk)].items():
        assert f'<td class="field-{cell}">{html}</td>' in page
    first.enabled = False
    first.save()
    state = live(admin_client, first, other).json()["rows"][str(first.pk)]["state_column"]
    assert '<span class="directus-state directus-state-paused">paused</span>' in state


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ("subscribed", ["subscribed"]),
        ("waiting", ["waiting"]),
        ("refused", ["refused"]),
        ("paused", ["paused", "paused-elsewhere"]),
        ("no-listener", ["elsewhere"]),
        ("nonsense", []),
    ],
)
def test_the_filter_by_state_finds_what_the_list_shows(
    admin_client: Client, listener: Any, state: str, found: list[str]
) -> None:
    for name in ("subscribed", "waiting", "refused"):
        subscription(name, state=name)
    subscription("paused", state="subscribed", enabled=False)
    subscription("paused-elsewhere", connection="blog", enabled=False)
    subscription("elsewhere", connection="blog", state="refused")
    page = admin_client.get(url("directussubscription"), {"state__exact": state})
    assert [row.name for row in page.context["cl"].result_list] == found


def test_the_filter_by_state_is_counted_where_asked(admin_client: Client) -> None:
    subscription(enabled=False)
    page = admin_client.get(url("directussubscription"), {"_facets": "True"})
    assert "paused (1)" in page.content.decode()


def test_how_many_events_there_were_is_below_the_last_one(admin_client: Client) -> None:
    subscription(event_count=1234567, last_event_at=timezone.now())
    subscription("none")
    page = admin_client.get(url("directussubscription")).content.decode()
    assert page.count("1,234,567 events") == 1
    assert "0 events</span></td>" not in page


def test_what_was_declared_and_which_actions_are_wanted_is_told(admin_client: Client) -> None:
    subscription(declared_in="app", on_update=False)
    page = admin_client.get(url("directussubscription")).content.decode()
    assert '<span class="directus-quiet">in code</span>' in page
    assert '<span class="directus-quiet">create, delete</span>' in page


def test_what_the_server_says_stays_text(admin_client: Client, listener: Any) -> None:
    row = subscription(state="refused", last_error="<script>alert(1)</script>")
    state = live(admin_client, row).json()["rows"][str(row.pk)]["state_column"]
    assert "<script>" not in state
    assert "&lt;script&gt;alert(1)" in state


@pytest.mark.parametrize("ids", ["", "x", "1,²,-1", "9" * 30])
def test_ids_that_are_none_are_left_out(admin_client: Client, ids: str) -> None:
    response = admin_client.get(url("directussubscription", "live"), {"ids": ids})
    assert response.json() == {"rows": {}}


def test_the_state_needs_the_right_to_see_it(client: Client) -> None:
    row = subscription()
    assert live(client, row).status_code == 302
    client.force_login(user_who_may("view_inboxevent"))
    assert live(client, row).status_code == 403


@pytest.mark.parametrize("page", ["changelist", "change", "live"])
def test_a_page_asks_few_questions_however_many_rows_there_are(
    admin_client: Client, listener: Any, django_assert_max_num_queries: Any, page: str
) -> None:
    rows = DirectusSubscription.objects.bulk_create(
        DirectusSubscription(name=f"s{n}", collection=f"c{n % 20}") for n in range(1000)
    )
    came_in("s1", 1, 1)
    dead_letter("s1")
    arguments = [rows[0].pk] if page == "change" else []
    ids = ",".join(str(row.pk) for row in rows[:100])
    with django_assert_max_num_queries(15):
        admin_client.get(
            url("directussubscription", page, *arguments), {"ids": ids} if page == "live" else {}
        )
