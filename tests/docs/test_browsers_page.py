"""The offers of docs/browsers.md are made, and let in whom the page says."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User

from directus_realtime import subscriptions
from directus_realtime.declaration_sync import sync_declared
from directus_realtime.gateway.access import grant
from directus_realtime.gateway.browser_query import QueryRefused, parse_subscribe
from directus_realtime.gateway.browser_view import UNKNOWN, BrowserView
from directus_realtime.gateway.offers import Offer, load_offers
from directus_realtime.gateway.routing import OriginCheck
from tests.docs.markdown import python_blocks

BLOCKS = python_blocks("browsers.md")
OFFERING = [block for block in BLOCKS if "register(" in block.code]


@pytest.fixture
def offers(db: None, monkeypatch: pytest.MonkeyPatch) -> list[Offer]:
    monkeypatch.setattr(subscriptions, "_declared", {})
    for block in OFFERING:
        exec(compile(block.code, "browsers.md", "exec"), {"__name__": "shop"})
    sync_declared()
    return load_offers()


def asked(offers: list[Offer], collection: str, user: Any, **query: Any) -> BrowserView | None:
    message = {"type": "subscribe", "collection": collection, "query": query}
    try:
        return grant(offers, parse_subscribe(message), user)
    except QueryRefused:
        return None


def test_who_gets_what(offers: list[Offer]) -> None:
    visitor, superuser = AnonymousUser(), User(username="root", is_superuser=True)
    member, staff = User(username="member"), User(username="staff", is_staff=True)
    member.directus_id = "m"  # type: ignore[attr-defined]
    let_in = {
        collection: [
            user.get_username()
            for user in (visitor, member, staff, superuser)
            if asked(offers, collection, user)
        ]
        for collection in ("news", "orders", "stock", "messages")
    }
    assert let_in == {
        "news": ["", "member", "staff", "root"],
        "orders": ["member"],  # the others have no directus_id
        "stock": ["root"],
        "messages": ["", "member", "staff", "root"],
    }


def test_the_function_hides_fields_and_items(offers: list[Offer]) -> None:
    row = {"id": 1, "content": "a", "hidden": False, "author": {"first_name": "Ann"}}
    view = asked(offers, "messages", AnonymousUser())
    assert view is not None
    seen = view.see("update", 1, row, UNKNOWN)
    assert seen is not None
    assert seen.data == {"id": 1, "content": "a"}
    assert view.see("update", 1, {**row, "hidden": True}, UNKNOWN) is None
    assert asked(offers, "messages", AnonymousUser(), filter={"hidden": False}) is None
    assert asked(offers, "messages", User(is_staff=True), filter={"hidden": False})


def test_the_gateway_is_mounted_as_the_page_says() -> None:
    names: dict[str, Any] = {"__name__": "shop.asgi"}
    for block in BLOCKS:
        if block not in OFFERING:
            exec(compile(block.code, "browsers.md", "exec"), names)
    for name in ("application", "websocket"):
        assert isinstance(names[name], OriginCheck)
    assert [str(url.pattern) for url in names["urlpatterns"]] == ["directus/"]
