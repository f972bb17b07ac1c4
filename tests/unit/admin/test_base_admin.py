from __future__ import annotations

import re
from urllib.parse import urljoin

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from directus_realtime.models import (
    ConnectionStatus,
    DirectusSubscription,
    InboxState,
    ListenerProcess,
)
from tests.helpers.admin import parked_change, subscription, url
from tests.helpers.inbox import FAILURES, add_row, dead_letter
from tests.unit.admin.conftest import TOKEN

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("directussubscription", "Nothing is listened to yet. Add a subscription"),
        ("inboxevent", "No events yet."),
        ("connectionstatus", "No listener has been started yet."),
        ("listenerprocess", "No listener is running. Start it:"),
        ("parkedchange", "Every logged change was delivered"),
    ],
)
def test_an_empty_list_says_what_that_means(
    admin_client: Client, model: str, sentence: str
) -> None:
    assert sentence in admin_client.get(url(model)).content.decode()


@pytest.mark.parametrize("query", ["?q=nothing", "?state__exact=dead"])
def test_a_list_in_which_nothing_matches_says_so(admin_client: Client, query: str) -> None:
    add_row()
    page = admin_client.get(url("inboxevent") + query).content.decode()
    assert "Nothing matches what is asked for." in page
    assert "No events yet." not in page
    assert 'name="action"' not in page


def test_no_page_shows_a_token(admin_client: Client, listener: ConnectionStatus) -> None:
    row, event = subscription(), add_row(failures=FAILURES)
    pages = [reverse("admin:index"), url("directussubscription", "add")]
    for model, pk in [
        ("directussubscription", row.pk),
        ("inboxevent", event.pk),
        ("connectionstatus", listener.pk),
    ]:
        pages += [url(model), url(model, "change", pk)]
    for page in pages:
        response = admin_client.get(page)
        assert response.status_code == 200, page
        assert TOKEN not in response.content.decode(), page


@pytest.mark.parametrize("model", ["directussubscription", "inboxevent", "connectionstatus"])
def test_the_pages_need_a_right(client: Client, model: str) -> None:
    assert client.get(url(model)).status_code == 302
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    assert client.get(url(model)).status_code == 403


def test_all_times_of_a_page_are_told_alike(
    admin_client: Client, listener: ConnectionStatus
) -> None:
    at = timezone.now().replace(2026, 11, 5, 9, 8, 7)
    listener.complete_until = at
    listener.save()
    subscription(last_event_at=at)
    ListenerProcess.objects.create(
        host="web-1", pid=1, role="active", started_at=at, heartbeat_at=at
    )
    row = DirectusSubscription.objects.get()
    pages = [
        url("connectionstatus", "change", "default"),
        url("connectionstatus"),
        url("listenerprocess", "change", ListenerProcess.objects.get().pk),
        url("directussubscription", "change", row.pk),
    ]
    for page in pages:
        content = admin_client.get(page).content.decode()
        assert not re.search(r"Nov\. \d|[ap]\.m\.", content), page
        assert re.search(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d", content), page
    # What the moment means is still said.
    assert "Up to this moment" in admin_client.get(pages[0]).content.decode()


MODELS = (
    "directussubscription",
    "inboxevent",
    "connectionstatus",
    "listenerprocess",
    "live",
    "parkedchange",
)
OURS = "/admin/directus_realtime/"


@pytest.fixture
def viewer(client: Client, listener: ConnectionStatus) -> Client:
    """Somebody with each right to view, on a site that has everything."""
    now = timezone.now()
    ListenerProcess.objects.create(
        host="web-1", pid=1, role="active", started_at=now, heartbeat_at=now
    )
    subscription("all"), subscription("in-code", declared_in="app")
    for state in InboxState.values:
        add_row(state=state)
    dead_letter(), add_row(state="done")
    parked_change()
    user = User.objects.create_user("viewer", is_staff=True)
    ours = Permission.objects.filter(content_type__app_label="directus_realtime")
    user.user_permissions.set(ours.filter(codename__startswith="view_"))
    client.force_login(user)
    return client


def links(page: str, content: str) -> set[str]:
    """The addresses of our pages that a page leads to."""
    found = {urljoin(page, each) for each in re.findall(r'href="([^"#]+)"', content)}
    return {each.replace("&amp;", "&") for each in found if each.startswith(OURS)}


def test_every_link_leads_to_a_page(viewer: Client) -> None:
    asked: set[str] = set()
    left = {url(model) for model in MODELS}
    while new := left - asked:
        for page in new:
            asked.add(page)
            response = viewer.get(page)
            assert response.status_code == 200, page
            # The lists have an address for each combination of filters.
            if "?" not in page:
                left |= links(page, response.content.decode())
    assert any("/inboxevent/" in page and "/change/" in page for page in asked)


def test_every_button_is_one_that_a_viewer_may_press(viewer: Client) -> None:
    pages = {url(model) for model in MODELS}
    pages |= {each for page in pages for each in links(page, text(viewer, page))}
    assert len(pages) > 20
    for page in pages:
        content = text(viewer, page).partition('id="content"')[2]
        buttons = re.findall(r'<(?:input|button)[^>]*type="submit"[^>]*>', content)
        # To search, and to run an action.
        assert all('value="Search"' in each or 'name="index"' in each for each in buttons), page
        actions = re.search(r'<select name="action".*?</select>', content, re.S)
        offered = re.findall(r'value="(\w+)"', actions[0]) if actions else []
        # It asks Directus, and changes nothing.
        assert offered in ([], ["test"]), page


def text(client: Client, page: str) -> str:
    return str(client.get(page).content.decode())
