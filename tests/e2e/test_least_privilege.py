"""The policy of docs/least-privilege.md does, on a real Directus, and is what is proposed."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from django.db.models import Q

from directus_realtime.subscriptions import Subscription
from example_project.real_directus import DirectusAdmin
from tests.docs.markdown import DOCS, python_blocks
from tests.helpers.site import Site
from tests.helpers.waiting import wait_for

pytestmark = pytest.mark.e2e

PAGE = "least-privilege.md"


def policy() -> dict[str, Any]:
    """The policy of the page."""
    (block,) = re.findall(r"^```json\n(.*?)^```", (DOCS / PAGE).read_text("utf-8"), re.M | re.S)
    found: dict[str, Any] = json.loads(block)
    return found


def subscription() -> Subscription:
    """The subscription of the page."""
    found: list[Subscription] = []
    (block,) = python_blocks(PAGE)
    exec(block.code, {"register": found.append, "Subscription": Subscription, "Q": Q})
    return found[0]


@pytest.fixture
def token(directus: DirectusAdmin) -> Iterator[str]:
    """Of a user with the policy alone, in a Directus with products and brands."""
    directus.create_collection("brands", {"name": "string", "secret": "string"})
    fields = {"name": "string", "price": "float", "status": "string", "cost": "float"}
    directus.create_collection("products", {**fields, "brand": "integer"})
    directus.create_relation("products", "brand", "brands")
    made = directus.request("POST", "/policies", policy())
    yield directus.create_user(policies=[made["id"]])
    directus.delete_collection("products")
    directus.delete_collection("brands")


def told(site: Site) -> tuple[str, dict[str, Any] | None]:
    """Origin and data of the last event."""
    event = site.inbox.order_by("id").last().to_event()
    return event.origin, event.data


def test_the_policy_does_and_is_the_smallest(
    site: Site, directus: DirectusAdmin, token: str
) -> None:
    site.env.update(DIRECTUS_TOKEN=token, PYTHONDEVMODE="")
    wanted = subscription()
    fields = list(wanted.query.fields)
    site.subscribe("products", collection="products", filter=wanted.query.filter, fields=fields)

    explained = site.start("directus_check", "--explain-permissions", "--json")
    assert explained.wait(60) == 0, explained.output
    assert json.loads(explained.output)[0]["policy"] == policy()

    brand = directus.create_item("brands", {"name": "Acme", "secret": "s"})
    listener = site.listen()
    item = {"name": "Lamp", "price": 9.5, "status": "published", "cost": 1, "brand": brand["id"]}
    made = directus.create_item("products", item)
    site.wait_for_received(1)
    shown = {"id": made["id"], "name": "Lamp", "price": 9.5, "brand": {"name": "Acme"}}
    assert told(site) == ("live", shown)

    wait_for(lambda: site.subscriptions.get().followed_from is not None)
    listener.send_signal(signal.SIGTERM)
    assert listener.wait() == 0
    directus.update_item("products", made["id"], {"price": 12})
    again = site.listen()
    again.wait_for_line("1 event caught up, nothing is missing")
    site.wait_for_received(2)
    assert told(site) == ("catch-up", {**shown, "price": 12})
