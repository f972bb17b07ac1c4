from __future__ import annotations

import socket
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from directus_realtime.events import Event
from directus_realtime.models import ConnectionStatus, InboxEvent
from directus_realtime.testing import ThreadedFakeDirectus
from example_project.articles import directus

UNREACHABLE = "Directus cannot be reached, so its articles are not shown."


def test_index__allows_only_this_sites_scripts(example: Any, client: Client) -> None:
    response = client.get("/")
    assert response.status_code == 200
    assert response["Content-Security-Policy"].startswith("default-src 'self'")
    page = response.content.decode()
    assert "Make a change" not in page
    assert "style=" not in page


def test_index__in_french(example: Any, client: Client) -> None:
    response = client.get("/", headers={"accept-language": "fr"})
    assert '<html lang="fr">' in response.content.decode()


def test_data__without_directus(example: Any, client: Client) -> None:
    data = client.get("/data/").json()
    assert data["articles"] == {"items": [], "error": UNREACHABLE}
    assert data["connection"]["state"] == "disconnected"
    assert data["connection"]["reason"] == "No listener has been started yet."
    assert data["events"] == []


def test_data__directus_does_not_answer(
    example: Any, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directus, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        example.DIRECTUS_REALTIME = {"default": {"URL": url, "TOKEN": "x"}}
        assert client.get("/data/").json()["articles"]["error"] == UNREACHABLE


@pytest.mark.parametrize(
    "mistake", [{"CA_FILE": "/not/there.pem"}, {"TOKEN": "not for a header: ☹"}]
)
def test_data__settings_that_cannot_work(
    example: Any, client: Client, mistake: dict[str, str]
) -> None:
    example.DIRECTUS_REALTIME["default"].update(mistake)
    # A sentence, not a server error.
    assert client.get("/data/").json()["articles"]["error"]


def test_data__nothing_configured(example: Any, client: Client) -> None:
    example.DIRECTUS_REALTIME = {}
    assert "Set DIRECTUS_URL" in client.get("/data/").json()["articles"]["error"]


def test_data__directus_refuses(demo: ThreadedFakeDirectus, example: Any, client: Client) -> None:
    example.DIRECTUS_REALTIME = {"default": {"URL": demo.url, "TOKEN": "wrong"}}
    error = client.get("/data/").json()["articles"]["error"]
    assert error.startswith("Directus does not show its articles: ")


def test_data__articles(demo: ThreadedFakeDirectus, client: Client) -> None:
    articles = client.get("/data/").json()["articles"]
    assert articles["error"] == ""
    newest = articles["items"][0]
    assert newest["title"] == "Winter markets of the north"
    assert newest["author"] == {"name": "Rosa Delgado"}
    assert set(newest) == {"id", "title", "status", "date_updated", "author"}


def test_data__with_email_and_password(
    demo: ThreadedFakeDirectus, example: Any, client: Client
) -> None:
    email, password = "editor@example.com", "secret-enough"
    from directus_realtime.testing import FakeUser, run_in_thread

    with run_in_thread(users=[FakeUser(email=email, password=password)]) as fake:
        login = {"URL": fake.url, "EMAIL": email, "PASSWORD": password}
        example.DIRECTUS_REALTIME = {"default": login}
        example.DEMO = ""
        assert client.get("/data/").json()["articles"] == {"items": [], "error": ""}


def test_data__events_newest_first_and_deletes_with_their_title(
    example: Any, client: Client
) -> None:
    common: dict[str, Any] = {"connection": "default", "subscription": "all", "key": 7}
    for action, data in [("create", {"title": "Bread"}), ("update", {"title": "Cake"})]:
        event = Event(collection="articles", action=action, data=data, **common)  # type: ignore[arg-type]
        InboxEvent.from_event(event).save()
    InboxEvent.from_event(Event(collection="articles", action="delete", **common)).save()
    events = client.get("/data/").json()["events"]
    assert [event["action"] for event in events] == ["delete", "update", "create"]
    assert events[0]["title"] == "Cake"
    assert events[0]["data"] is None


def test_status__tells_the_server(example: Any, client: Client) -> None:
    now = timezone.now()
    ConnectionStatus.objects.create(
        alias="default",
        state="connected",
        url="https://cms.example.com",
        version="11.17.4",
        changed_at=now,
        heartbeat_at=now,
    )
    assert client.get("/status/").json()["connection"] == {
        "state": "connected",
        "reason": "",
        "url": "https://cms.example.com",
        "version": "11.17.4",
    }


def test_change__only_in_the_demo(example: Any, client: Client) -> None:
    assert client.post("/change/").status_code == 404
    assert client.get("/change/").status_code == 405


def test_change__changes_something(demo: ThreadedFakeDirectus, client: Client) -> None:
    before = demo.items("articles")
    assert client.post("/change/").json() == {"error": ""}
    assert demo.items("articles") != before


def test_change__needs_the_csrf_token(demo: ThreadedFakeDirectus) -> None:
    assert Client(enforce_csrf_checks=True).post("/change/").status_code == 403


def test_change__without_directus(example: Any, client: Client) -> None:
    example.DEMO = "fake"
    response = client.post("/change/")
    assert response.status_code == 502
    assert response.json() == {"error": "Directus cannot be reached."}


def test_change__directus_refuses(demo: ThreadedFakeDirectus, example: Any, client: Client) -> None:
    example.DIRECTUS_REALTIME = {"default": {"URL": demo.url, "TOKEN": "wrong"}}
    response = client.post("/change/")
    assert response.status_code == 502
    assert response.json()["error"].startswith("Directus refused the change: ")


@pytest.mark.parametrize("path", ["/admin/login/", "/"])
def test_policy__on_every_page(example: Any, client: Client, path: str) -> None:
    assert "frame-ancestors 'none'" in client.get(path)["Content-Security-Policy"]
