"""``@directus/sdk`` in Node, on the gateway in front of a real Directus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from example_project.real_directus import DirectusAdmin, DirectusUnavailable
from tests.conftest import missing
from tests.helpers.gateway import Gateway
from tests.helpers.sdk import NodeSdk, install_sdk
from tests.helpers.site import Site
from tests.helpers.waiting import wait_for

pytestmark = pytest.mark.e2e

PUBLISHED = {
    "query": {
        "fields": ["id", "title"],
        "filter": {"status": {"_eq": "published"}},
        "sort": ["-title"],
        "limit": 2,
    }
}


@pytest.fixture
def gateway(
    make_site: Callable[..., Site], directus_env: dict[str, str], directus: DirectusAdmin
) -> Gateway:
    """The gateway, with four articles from before."""
    rows = directus.read_items("articles", limit="-1", fields="id")
    if rows:
        directus.delete_items("articles", [row["id"] for row in rows])
    kinds = {"a": "published", "b": "published", "c": "published", "d": "draft"}
    directus.create_items("articles", [{"title": t, "status": s} for t, s in kinds.items()])
    return Gateway.start(make_site(directus_env))


@pytest.fixture
def make_sdk() -> Iterator[Callable[..., NodeSdk]]:
    """The SDK in Node."""
    made: list[NodeSdk] = []
    try:
        install_sdk()
    except DirectusUnavailable as error:
        missing(str(error))

    def make(cookie: str = "") -> NodeSdk:
        made.append(NodeSdk(cookie))
        return made[-1]

    yield make
    for sdk in made:
        sdk.close()


@pytest.fixture
def sdk(make_sdk: Callable[..., NodeSdk], gateway: Gateway) -> NodeSdk:
    """The SDK, connected with a token."""
    sdk = make_sdk()
    connect(sdk, gateway, gateway.token)
    sdk.wait_for(what="connected")
    return sdk


def connect(sdk: NodeSdk, gateway: Gateway, token: str, **options: Any) -> None:
    given = {"authMode": "handshake", "url": gateway.token_url, **options}
    sdk.call("connect", gateway.origin, given, token)


def test_sdk__has_a_query_evaluated_and_gets_all_three_events(
    sdk: NodeSdk, directus: DirectusAdmin
) -> None:
    sdk.call("subscribe", "published", "articles", PUBLISHED)
    init = sdk.wait_for_message("published", 1)
    assert init["event"] == "init"
    assert [row["title"] for row in init["data"]] == ["c", "b"]
    assert set(init["data"][0]) == {"id", "title"}

    directus.create_item("articles", {"title": "hidden", "status": "draft"})
    key = directus.create_item("articles", {"title": "new", "status": "published"})["id"]
    created = sdk.wait_for_event("published", "create", key)
    assert created["data"] == [{"id": key, "title": "new"}]
    directus.update_item("articles", key, {"title": "newer"})
    updated = sdk.wait_for_event("published", "update", key)
    assert updated["data"] == [{"id": key, "title": "newer"}]
    directus.delete_item("articles", key)
    sdk.wait_for_event("published", "delete", key)
    assert sdk.events("published") == ["init", "create", "update", "delete"]


def test_sdk__unsubscribes_and_keeps_its_other_subscription(
    sdk: NodeSdk, directus: DirectusAdmin
) -> None:
    sdk.call("subscribe", "first", "articles", {"event": "create"})
    sdk.wait_for_message("first", 1)
    sdk.call("subscribe", "second", "articles", {"event": "create", "query": {"fields": ["title"]}})
    sdk.wait_for_message("second", 1)
    sdk.call("unsubscribe", "first")
    sdk.wait_for(what="heard", event="unsubscribe")
    directus.create_item("articles", {"title": "x"})
    created = sdk.wait_for_message("second", 2)
    assert (created["event"], created["data"]) == ("create", [{"title": "x"}])
    assert sdk.events("first") == ["init", "unsubscribe"]


def test_sdk__answers_heartbeats_and_has_its_own_answered(
    make_sdk: Callable[..., NodeSdk], make_site: Callable[..., Site]
) -> None:
    gateway = Gateway.start(make_site({}), heartbeat=0.5, listen=False)
    sdk = make_sdk()
    connect(sdk, gateway, gateway.token)
    sdk.wait_for(3, what="sent", type="pong")
    sdk.call("send", {"type": "ping"})
    sdk.wait_for(what="answered")
    assert sdk.having(what="close") == []


def test_sdk__is_who_the_session_says_in_public_mode(
    make_sdk: Callable[..., NodeSdk], gateway: Gateway
) -> None:
    signed_in, stranger = make_sdk(f"sessionid={gateway.session}"), make_sdk()
    for sdk in (signed_in, stranger):
        sdk.call("connect", gateway.origin, {"authMode": "public", "url": gateway.url})
        sdk.wait_for(what="connected")
        sdk.call("subscribe", "all", "articles", {})
    assert signed_in.wait_for_message("all", 1)["event"] == "init"
    assert stranger.wait_for(what="refused", name="all")["error"]["code"] == "FORBIDDEN"


def test_sdk__is_refused_a_wrong_token(make_sdk: Callable[..., NodeSdk], gateway: Gateway) -> None:
    sdk = make_sdk()
    connect(sdk, gateway, "wr0ng", reconnect=False)
    sdk.wait_for(what="failed", call="connect")
    assert sdk.wait_for(what="close")["code"] == 4401


def test_sdk__goes_on_after_a_restart_of_django(
    make_sdk: Callable[..., NodeSdk], gateway: Gateway, directus: DirectusAdmin
) -> None:
    sdk = make_sdk()
    connect(sdk, gateway, gateway.token, reconnect={"delay": 15_000, "retries": 10})
    sdk.wait_for(what="connected")
    sdk.call("subscribe", "all", "articles", {"query": {"fields": ["id", "title"]}})
    sdk.wait_for_message("all", 1)
    gateway.stop()
    gateway.start_again()
    # It subscribes twice when it is back, by its list and by its iterator, so that the second
    # time ends the first subscription; and it loses what comes together with another message.
    sdk.wait_for(2, what="heard", event="init")

    def goes_on() -> bool:
        directus.create_item("articles", {"title": "after the restart"})
        return "create" in sdk.events("all")

    wait_for(goes_on, what="an event after the restart")
