"""Filters of the gateway let pass what a real Directus lets pass."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from directus_realtime.gateway.browser_view import BrowserView
from example_project.real_directus import DirectusAdmin, DirectusServer

pytestmark = pytest.mark.e2e

FIELDS = ["*", "owner.id", "owner.name", "owner.age"]
ORDERS = [
    {"title": "A fine Day", "stock": 3, "price": 12.5, "is_on": True, "owner": 1},
    {"title": "rain", "stock": 0, "price": 9, "is_on": False, "owner": 2},
    {"title": "", "stock": None, "price": None, "is_on": None, "owner": None},
    {"title": None, "stock": -1, "price": 100, "is_on": True, "owner": 3},
]
TIMES = ["2026-01-01T00:00:00Z", "2026-01-02T10:30:00Z", None, "2026-01-03T00:00:00Z"]

FILTERS: list[dict[str, Any]] = [
    {},
    {"stock": {"_eq": 3}},
    {"stock": 3},
    {"stock": {"_neq": 3}},
    {"stock": {"_gt": -1, "_lte": 3}},
    {"stock": {"_in": [0, 3]}},
    {"stock": {"_nin": [0, 3]}},
    {"stock": {"_between": [0, 5]}},
    {"stock": {"_nbetween": [0, 5]}},
    {"stock": {"_null": True}},
    {"stock": {"_nnull": False}},
    {"price": {"_gt": 9}},
    {"price": {"_eq": 12.5}},
    {"price": {"_nin": [9, 12.5]}},
    {"is_on": {"_eq": True}},
    {"is_on": {"_neq": True}},
    {"at": {"_gte": "2026-01-02T10:30:00Z"}},
    {"at": {"_lt": "2026-01-02T12:30:00+02:00"}},
    {"at": {"_eq": "2026-01-03"}},
    {"title": {"_empty": True}},
    {"title": {"_nempty": True}},
    {"title": {"_contains": "fine"}},
    {"title": {"_ncontains": "fine"}},
    {"title": {"_icontains": "RAIN"}},
    {"title": {"_starts_with": "A"}},
    {"title": {"_nends_with": "Day"}},
    {"title": {"_neq": "rain"}},
    {"_or": [{"stock": 0}, {"title": {"_null": True}}]},
    {"_and": [{"stock": {"_gte": 0}}, {"_or": [{"is_on": True}, {"price": {"_lt": 10}}]}]},
    {"_or": [{}, {"stock": 0}]},
    {"owner": {"name": {"_eq": "Ann"}}},
    {"owner": {"name": {"_neq": "Ann"}}},
    {"owner": {"age": {"_null": True}}},
    {"owner": {"_and": [{"age": {"_gt": 20}}, {"name": {"_nnull": True}}]}},
    {"owner": {"name": {"_starts_with": "B"}, "age": {"_gt": 20}}},
]


@pytest.fixture(scope="module")
def orders(directus_server: DirectusServer) -> Iterator[DirectusAdmin]:
    """A collection of orders and their owners."""
    with directus_server.admin() as admin:
        admin.create_collection("owners", {"name": "string", "age": "integer"})
        kinds: dict[str, Any] = {"title": "string", "stock": "integer", "price": "decimal"}
        # As Directus's own pages make one; else SQLite answers with numbers.
        kinds["is_on"] = {"type": "boolean", "meta": {"special": ["cast-boolean"]}}
        admin.create_collection("orders", {**kinds, "at": "timestamp", "owner": "integer"})
        admin.create_relation("orders", "owner", "owners")
        people = [("Ann", 30), ("Bob", None), ("Bea", 40)]
        admin.create_items("owners", [{"name": name, "age": age} for name, age in people])
        rows = [{**row, "at": at} for row, at in zip(ORDERS, TIMES, strict=True)]
        admin.create_items("orders", rows)
        yield admin
        admin.delete_collection("orders")
        admin.delete_collection("owners")


def test_the_same_items_pass(orders: DirectusAdmin) -> None:
    rows = orders.read_items("orders", fields=",".join(FIELDS), limit="-1")
    assert len(rows) == len(ORDERS)
    different = {}
    for filter_ in FILTERS:
        view = BrowserView("a", "f", ("create",), tuple(FIELDS), filter_, limit=100)
        ours = [row["id"] for row in view.select(rows)]
        theirs = orders.read_items("orders", fields="id", sort="id", filter=json.dumps(filter_))
        if ours != [row["id"] for row in theirs]:
            different[json.dumps(filter_)] = (ours, [row["id"] for row in theirs])
    assert different == {}


def test_in_the_same_order(orders: DirectusAdmin) -> None:
    rows = orders.read_items("orders", fields=",".join(FIELDS), limit="-1")
    for sort in ("stock", "-stock", "-price", "at", "-owner.name", "is_on,-stock"):
        view = BrowserView("a", "f", ("create",), ("id",), sort=tuple(sort.split(",")), limit=3)
        theirs = orders.read_items("orders", fields="id", sort=sort, limit="3")
        assert view.select(rows) == theirs, sort
