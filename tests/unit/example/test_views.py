"""The pages' answers, on a fake Directus."""

from __future__ import annotations

import json
import re
import socket
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from django.test import Client
from django.utils import timezone

from directus_realtime.events import Event
from directus_realtime.models import ConnectionStatus, DirectusSubscription, InboxEvent
from directus_realtime.testing import ThreadedFakeDirectus
from example_project.site import directus

UNREACHABLE = "Directus cannot be reached."
PATHS = ("/", "/chat/", "/notifications/", "/dashboard/", "/login/")


# Every page


@pytest.mark.parametrize("path", PATHS)
def test_page__allows_only_this_sites_scripts(example: Any, client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response["Content-Security-Policy"].startswith("default-src 'self'")
    page = response.content.decode()
    for forbidden in ("style=", "onclick=", "Make a change", "Sign in as"):
        assert forbidden not in page


@pytest.mark.parametrize("path", PATHS)
def test_page__in_french(example: Any, client: Client, path: str) -> None:
    response = client.get(path, headers={"accept-language": "fr"})
    assert '<html lang="fr">' in response.content.decode()


def test_page__says_in_french_that_something_may_not_be_seen(example: Any, client: Client) -> None:
    """As after signing out in another tab; the gateway's own sentence is in English."""
    page = client.get("/chat/", headers={"accept-language": "fr"}).content.decode()
    found = re.search(r'<script id="texts" type="application/json">(.*?)</script>', page)
    assert found is not None
    assert "rechargez la page" in json.loads(found[1])["FORBIDDEN"]


def test_page__what_directus_says_of_an_article_is_in_french(example: Any, client: Client) -> None:
    texts = client.get("/", headers={"accept-language": "fr"}).context["texts"]
    shown = {status: texts[f"status-{status}"] for status in ("published", "draft", "archived")}
    assert shown == {"published": "publié", "draft": "brouillon", "archived": "archivé"}


@pytest.mark.parametrize("path", ["/admin/login/", "/chat/messages/"])
def test_policy__on_every_answer(example: Any, client: Client, path: str) -> None:
    assert "frame-ancestors 'none'" in client.get(path)["Content-Security-Policy"]


def test_the_icon_that_browsers_ask_for_unasked_is_there(example: Any, client: Client) -> None:
    response = client.get("/favicon.ico")
    assert (response.status_code, response.url) == (302, "/static/site/icon.svg")  # type: ignore[attr-defined]
    assert finders.find("site/icon.svg")


def test_no_page_holds_a_token(demo: ThreadedFakeDirectus, ada: Client) -> None:
    for path in (*PATHS, "/status/", "/events/", "/dashboard/figures/"):
        assert demo.token not in ada.get(path).content.decode()


# The connection


def test_status__without_a_listener(example: Any, client: Client) -> None:
    connection = client.get("/status/").json()["connection"]
    assert connection["state"] == "disconnected"
    assert connection["reason"] == (
        "No listener has been started yet. Start it: python manage.py directus_listen"
    )


def test_status__tells_the_server_and_what_is_offered(example: Any, client: Client) -> None:
    now = timezone.now()
    ConnectionStatus.objects.create(
        alias="default",
        state="connected",
        url="https://cms.example.com",
        version="11.17.4",
        changed_at=now,
        heartbeat_at=now,
    )
    DirectusSubscription.objects.create(name="kept", collection="articles")
    DirectusSubscription.objects.create(name="open", collection="a", browser_access="public")
    status = client.get("/status/").json()
    assert status["connection"] == {
        "state": "connected",
        "reason": "",
        "url": "https://cms.example.com",
        "version": "11.17.4",
    }
    offered = {each["name"]: each["is_offered"] for each in status["subscriptions"]}
    assert offered == {"kept": False, "open": True}


# Signing in


def test_sign_in_as__somebody_of_the_demo(demo: ThreadedFakeDirectus, client: Client) -> None:
    answer = client.post("/login/as/", {"person": "ada", "next": "/chat/"})
    assert answer["Location"] == "/chat/"
    assert "Write a message" in client.get("/chat/").content.decode()


@pytest.mark.parametrize("target", ["https://evil.example.com/", "//evil.example.com", ""])
def test_sign_in_as__leads_nowhere_else(
    demo: ThreadedFakeDirectus, client: Client, target: str
) -> None:
    assert client.post("/login/as/", {"person": "ada", "next": target})["Location"] == "/"


@pytest.mark.parametrize("person", ["mei", "admin", "owner", ""])
def test_sign_in_as__only_who_is_played(
    demo: ThreadedFakeDirectus, client: Client, person: str
) -> None:
    User.objects.create_superuser("admin", password="x")
    User.objects.create_user("owner")
    assert client.post("/login/as/", {"person": person}).status_code == 404


def test_sign_in_as__nobody_with_a_password(demo: ThreadedFakeDirectus, client: Client) -> None:
    user = User.objects.get(username="ada")
    user.set_password("my own")
    user.save()
    assert client.post("/login/as/", {"person": "ada"}).status_code == 404


def test_sign_in_as__not_outside_of_the_demo(site: ThreadedFakeDirectus, client: Client) -> None:
    assert client.post("/login/as/", {"person": "ada"}).status_code == 404


# The demo's button


@pytest.mark.parametrize(
    ("what", "collection"),
    [
        ("articles", "articles"),
        ("messages", "messages"),
        ("orders", "orders"),
        ("notifications", "directus_notifications"),
    ],
)
def test_change__changes_something(
    demo: ThreadedFakeDirectus, client: Client, what: str, collection: str
) -> None:
    before = demo.items(collection)
    assert client.post(f"/change/{what}/").json() == {"error": ""}
    assert demo.items(collection) != before


def test_change__only_in_the_demo(site: ThreadedFakeDirectus, client: Client) -> None:
    assert client.post("/change/articles/").status_code == 404
    assert client.get("/change/articles/").status_code == 405


def test_change__of_nothing(demo: ThreadedFakeDirectus, client: Client) -> None:
    assert client.post("/change/everything/").status_code == 404


@pytest.mark.parametrize("path", ["/change/articles/", "/chat/messages/", "/login/as/"])
def test_changes_need_the_csrf_token(demo: ThreadedFakeDirectus, path: str) -> None:
    assert Client(enforce_csrf_checks=True).post(path).status_code == 403


def test_change__without_directus(example: Any, client: Client) -> None:
    example.DEMO = "fake"
    response = client.post("/change/articles/")
    assert response.status_code == 502
    assert response.json() == {"error": UNREACHABLE}


def test_change__directus_refuses(demo: ThreadedFakeDirectus, example: Any, client: Client) -> None:
    example.DIRECTUS_DEMO_TOKEN = "wrong"
    response = client.post("/change/articles/")
    assert response.status_code == 502
    assert response.json()["error"].startswith("Directus refuses: ")


# Articles


def test_events__newest_first_and_deletes_with_their_title(example: Any, client: Client) -> None:
    DirectusSubscription.objects.create(name="all", collection="articles", browser_access="public")
    common: dict[str, Any] = {"connection": "default", "subscription": "all", "key": 7}
    for action, data in [("create", {"title": "Bread"}), ("update", {"title": "Cake"})]:
        event = Event(collection="articles", action=action, data=data, **common)  # type: ignore[arg-type]
        InboxEvent.from_event(event).save()
    InboxEvent.from_event(Event(collection="articles", action="delete", **common)).save()
    events = client.get("/events/").json()["events"]
    assert [event["action"] for event in events] == ["delete", "update", "create"]
    assert events[0]["title"] == "Cake"
    assert events[0]["data"] is None


@pytest.mark.parametrize("access", ["nobody", "signed_in"])
def test_events__only_what_is_offered_to_everybody(
    example: Any, client: Client, access: str
) -> None:
    DirectusSubscription.objects.create(name="mine", collection="articles", browser_access=access)
    event = Event(
        connection="default", subscription="mine", collection="articles", action="delete", key=1
    )
    InboxEvent.from_event(event).save()
    assert client.get("/events/").json() == {"events": []}


# Chat


def test_chat__is_sent_in_ones_own_name(site: ThreadedFakeDirectus, ada: Client) -> None:
    others = site.items("messages")[1]["author"]
    sent = {"content": " Hello \n", "author": others}
    assert ada.post("/chat/messages/", sent).json() == {"error": ""}
    newest = site.items("messages")[-1]
    author = str(User.objects.get(username="ada").directus.directus_user)
    assert (newest["content"], newest["author"]) == ("Hello", author)


def test_chat__ones_own_can_be_changed_and_deleted(site: ThreadedFakeDirectus, ada: Client) -> None:
    (key,) = [
        each["id"] for each in site.items("messages") if "key to the archive" in each["content"]
    ]
    assert ada.post(f"/chat/messages/{key}/edit/", {"content": "Found it."}).json()["error"] == ""
    assert site.items("messages")[0]["content"] == "Found it."
    assert ada.post(f"/chat/messages/{key}/delete/").json()["error"] == ""
    assert key not in [each["id"] for each in site.items("messages")]


@pytest.mark.parametrize("what", ["edit", "delete"])
def test_chat__others_cannot_be_touched(site: ThreadedFakeDirectus, ada: Client, what: str) -> None:
    before = site.items("messages")
    answer = ada.post(f"/chat/messages/{before[1]['id']}/{what}/", {"content": "x"})
    assert answer.status_code == 403
    assert ada.post(f"/chat/messages/999/{what}/", {"content": "x"}).status_code == 502
    assert site.items("messages") == before


@pytest.mark.parametrize("content", ["", "  \n "])
def test_chat__nothing_is_not_sent(site: ThreadedFakeDirectus, ada: Client, content: str) -> None:
    answer = ada.post("/chat/messages/", {"content": content})
    assert (answer.status_code, answer.json()["error"]) == (400, "Write something first.")


@pytest.mark.parametrize("is_signed_in", [True, False])
def test_chat__only_people_of_directus_write(
    site: ThreadedFakeDirectus, client: Client, is_signed_in: bool
) -> None:
    before = site.items("messages")
    if is_signed_in:
        client.force_login(User.objects.create_user("without-profile"))
    assert client.post("/chat/messages/", {"content": "x"}).status_code == 403
    assert site.items("messages") == before


def test_chat__without_a_token_to_write(
    site: ThreadedFakeDirectus, example: Any, ada: Client
) -> None:
    example.DIRECTUS_WRITE_TOKEN = ""
    answer = ada.post("/chat/messages/", {"content": "x"})
    assert answer.status_code == 502
    assert "DIRECTUS_WRITE_TOKEN" in answer.json()["error"]


# Notifications


def unread(site: ThreadedFakeDirectus, username: str) -> list[Any]:
    me = str(User.objects.get(username=username).directus.directus_user)
    return [
        each["id"]
        for each in site.items("directus_notifications")
        if each["recipient"] == me and each["status"] == "inbox"
    ]


def test_archive__one_or_all_of_ones_own(site: ThreadedFakeDirectus, ada: Client) -> None:
    first, second = unread(site, "ada")
    others = unread(site, "jonas")
    assert ada.post("/notifications/archive/", {"id": first}).json() == {"error": ""}
    assert unread(site, "ada") == [second]
    assert ada.post("/notifications/archive/", {"id": others[0]}).json() == {"error": ""}
    assert ada.post("/notifications/archive/").json() == {"error": ""}
    assert unread(site, "ada") == []
    assert unread(site, "jonas") == others


def test_archive__needs_a_sign_in(site: ThreadedFakeDirectus, client: Client) -> None:
    assert client.post("/notifications/archive/").status_code == 403


# Dashboard


def test_figures(site: ThreadedFakeDirectus, client: Client) -> None:
    figures = client.get("/dashboard/figures/").json()
    orders = [each for each in site.items("orders") if each["status"] == "completed"]
    assert figures["error"] == ""
    assert figures["completed"] == len(orders) == sum(bar["orders"] for bar in figures["bars"])
    assert figures["revenue"] == pytest.approx(sum(each["total"] for each in orders))
    assert sum(bar["revenue"] for bar in figures["bars"]) == pytest.approx(figures["revenue"])
    assert figures["pending"] == 3


def test_figures__of_no_orders(site: ThreadedFakeDirectus, client: Client) -> None:
    site.delete("orders", [each["id"] for each in site.items("orders")])
    figures = client.get("/dashboard/figures/").json()
    assert (figures["completed"], figures["revenue"], figures["average"]) == (0, 0, None)


def test_figures__directus_does_not_answer(
    example: Any, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directus, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        example.DIRECTUS_REALTIME = {"default": {"URL": url, "TOKEN": "x"}}
        assert client.get("/dashboard/figures/").json()["error"] == UNREACHABLE


@pytest.mark.parametrize(
    "mistake", [{"CA_FILE": "/not/there.pem"}, {"TOKEN": "not for a header: ☹"}]
)
def test_figures__settings_that_cannot_work(
    example: Any, client: Client, mistake: dict[str, str]
) -> None:
    example.DIRECTUS_REALTIME["default"].update(mistake)
    # A sentence, not a server error.
    assert client.get("/dashboard/figures/").json()["error"]


def test_figures__nothing_configured(example: Any, client: Client) -> None:
    example.DIRECTUS_REALTIME = {}
    assert "Set DIRECTUS_URL" in client.get("/dashboard/figures/").json()["error"]


def test_figures__directus_refuses(
    site: ThreadedFakeDirectus, example: Any, client: Client
) -> None:
    example.DIRECTUS_REALTIME = {"default": {"URL": site.url, "TOKEN": "wrong"}}
    error = client.get("/dashboard/figures/").json()["error"]
    assert error.startswith("Directus refuses: ")
