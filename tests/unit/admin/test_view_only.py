"""Who may only look is offered nothing that refuses him."""

from __future__ import annotations

import re
from urllib.parse import urljoin

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from directus_realtime.models import ConnectionStatus, InboxState, ListenerProcess
from tests.helpers.admin import parked_change, subscription, url
from tests.helpers.inbox import add_row, dead_letter

pytestmark = pytest.mark.django_db

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
