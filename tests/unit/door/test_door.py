"""The door as Directus and strangers see it, and what it writes for the listener."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from django.db import OperationalError
from django.http import HttpResponse
from django.test import Client

from directus_realtime.client.doorbells import KNOCK_WINDOW
from directus_realtime.door import door
from directus_realtime.door.knocks import BODY_LIMIT, TOLERANCE, DoorKey
from directus_realtime.door.ring_counter import RingCounter
from directus_realtime.models import DoorRing
from tests.helpers.manual_clock import ManualClock

pytestmark = pytest.mark.django_db

SECRET = "s3cret-of-the-door-0123456789abcdef"
KNOCK = json.dumps({"event": "articles.items.update", "collection": "articles"}).encode()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    clock = ManualClock()
    monkeypatch.setattr(door, "_clock", clock)
    monkeypatch.setattr(door, "_counter", RingCounter(clock))
    return clock


@pytest.fixture(autouse=True)
def connections(settings: Any, clock: ManualClock) -> dict[str, Any]:
    values: dict[str, Any] = {
        "default": {"URL": "https://a.example.com", "TOKEN": "t", "DOOR_SECRET": SECRET},
        "other": {"URL": "https://b.example.com", "TOKEN": "t"},
    }
    settings.DIRECTUS_REALTIME = values
    return values


def knock(body: bytes = KNOCK, path: str = "/directus/door/", **headers: str) -> HttpResponse:
    headers = headers or {"X_Door_Secret": SECRET}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    client = Client(enforce_csrf_checks=True)
    response: Any = client.post(path, body, content_type="application/json", headers=named)
    return response  # type: ignore[no-any-return]


def rings(alias: str = "default") -> int:
    return sum(DoorRing.objects.filter(alias=alias).values_list("rings", flat=True))


def test_a_knock_with_the_secret_rings_and_is_answered_without_content() -> None:
    response = knock()
    assert (response.status_code, response.content) == (204, b"")
    row = DoorRing.objects.get()
    assert (row.alias, row.rings) == ("default", 1)
    assert (row.event, row.collection) == ("articles.items.update", "articles")


def test_a_connection_has_an_address_of_its_own(connections: dict[str, Any]) -> None:
    connections["other"]["DOOR_SECRET"] = SECRET[::-1]
    path = "/directus/door/other/"
    assert knock(path=path).status_code == 403
    assert knock(path=path, X_Door_Secret=SECRET[::-1]).status_code == 204
    assert (rings("default"), rings("other")) == (0, 1)


@pytest.mark.parametrize("alias", ["other", "unknown"])
def test_a_connection_without_a_secret_has_no_door(alias: str) -> None:
    assert knock(path=f"/directus/door/{alias}/", X_Door_Secret="").status_code == 404


@pytest.mark.parametrize("secret", ["", "wrong", SECRET + "x", SECRET[:-1], "é" * 35])
def test_a_wrong_secret_does_not_ring(secret: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "directus_realtime"):
        assert knock(X_Door_Secret=secret).status_code == 403
    assert rings() == 0
    assert SECRET[:-1] not in caplog.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b"[]", 400),
        (b"null", 400),
        (b"[" * 5000, 400),
        (b'{"event": "a"}', 400),
        (b'{"event": 1, "collection": "a"}', 400),
        (b'{"event": "a", "collection": "a\\u0000"}', 400),
        (json.dumps({"event": "a", "collection": "x" * 101}).encode(), 400),
        (b" " * (BODY_LIMIT + 1), 413),
    ],
    ids=range(11),
)
def test_a_malformed_knock_does_not_ring(body: bytes, status: int) -> None:
    assert knock(body).status_code == status
    assert rings() == 0


def test_what_else_a_knock_says_is_ignored() -> None:
    content = {"event": "a", "collection": "b", "keys": [1], "payload": {"title": "forged"}}
    assert knock(json.dumps(content).encode()).status_code == 204


@pytest.mark.parametrize("method", ["get", "put", "delete", "head"])
def test_other_methods_are_refused(method: str) -> None:
    assert getattr(Client(), method)("/directus/door/").status_code == 405


def test_knocks_within_the_window_are_one_write_and_none_is_forgotten(
    clock: ManualClock, django_assert_num_queries: Any
) -> None:
    knock()
    with django_assert_num_queries(0):
        assert {knock().status_code for _ in range(5)} == {204}
    clock.advance(KNOCK_WINDOW)
    with django_assert_num_queries(1):
        knock()
    assert rings() == 7


def test_the_door_says_that_the_database_is_away_and_the_next_knock_rings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:

        def fail(*args: Any) -> None:
            raise OperationalError("connection refused")

        patch.setattr(RingCounter, "_write", fail)
        assert knock().status_code == 503
    assert knock().status_code == 204
    assert rings() == 2


# Signatures


def signed(time: float, body: bytes = KNOCK) -> str:
    return DoorKey(SECRET, is_signed=True).sign(body, time)


def test_a_signed_knock_rings_without_the_secret(clock: ManualClock) -> None:
    assert knock(X_Door_Signature=signed(clock.now().timestamp())).status_code == 204


@pytest.mark.parametrize(("seconds", "status"), [(0, 204), (1, 403)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_signature_that_is_old_or_early_is_refused(
    clock: ManualClock, seconds: int, status: int, sign: int
) -> None:
    time = int(clock.now().timestamp()) + sign * (TOLERANCE + seconds)
    assert knock(X_Door_Signature=signed(time)).status_code == status


def test_a_signature_of_another_body_or_of_no_form_is_refused(clock: ManualClock) -> None:
    now = clock.now().timestamp()
    assert knock(X_Door_Signature=signed(now, b"other")).status_code == 403
    assert knock(X_Door_Signature="nonsense", X_Door_Secret=SECRET).status_code == 403


def test_a_door_for_signed_knocks_refuses_the_secret(
    connections: dict[str, Any], clock: ManualClock
) -> None:
    connections["default"]["DOOR_SIGNED"] = True
    assert knock().status_code == 403
    assert knock(X_Door_Signature=signed(clock.now().timestamp())).status_code == 204


def test_the_secret_is_in_no_repr() -> None:
    assert SECRET not in repr(DoorKey(SECRET, is_signed=False))
