"""What the guide promises of queries, helpers and reads, on real servers of each version."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.models import Q

from directus_realtime.client.system_collections import known_gap
from directus_realtime.events import Event
from directus_realtime.exceptions import SubscriptionRefused
from example_project.real_directus import DirectusAdmin
from tests.contract.conftest import MakeClient
from tests.contract.servers import Server
from tests.contract.system_changes import (
    NAMES,
    Change,
    permission_change,
    system_changes,
    upload,
)
from tests.contract.watching import arrived, told
from tests.helpers.waiting import await_for

pytestmark = pytest.mark.real_only


@pytest.fixture(scope="session")
def catalogue(server: Server) -> DirectusAdmin:
    """``products`` with fields of many types and a maker; ``pages`` of many-to-any blocks."""
    admin = server.admin
    fields: dict[str, Any] = {
        "name": "string",
        "note": "string",
        "price": "float",
        "stock": "integer",
        "active": "boolean",
        "released": "timestamp",
        "maker": "integer",
        "owner": {"type": "uuid", "meta": {"special": ["user-created"]}},
    }
    admin.create_collection("products", fields)
    admin.request("POST", "/fields/authors", _alias("products", "o2m"))
    maker = _relation("products", "maker", "authors", one_field="products")
    admin.request("POST", "/relations", maker)
    admin.request("POST", "/relations", _relation("products", "owner", "directus_users"))

    admin.create_collection("pages", {"title": "string"})
    admin.create_collection("pages_blocks", {"page": "integer", "item": "string", "kind": "string"})
    admin.request("POST", "/fields/pages", _alias("blocks", "m2a"))
    blocks = _relation("pages_blocks", "page", "pages", one_field="blocks", junction_field="item")
    admin.request("POST", "/relations", blocks)
    anything = _relation(
        "pages_blocks",
        "item",
        None,
        one_collection_field="kind",
        one_allowed_collections=["authors", "products"],
        junction_field="page",
    )
    admin.request("POST", "/relations", anything)
    return admin


def _alias(name: str, special: str) -> dict[str, Any]:
    return {"field": name, "type": "alias", "meta": {"special": [special]}, "schema": None}


def _relation(collection: str, field: str, related: str | None, **meta: Any) -> dict[str, Any]:
    schema = {"on_delete": "SET NULL"} if related else None
    return {
        "collection": collection,
        "field": field,
        "related_collection": related,
        "meta": meta,
        "schema": schema,
    }


# Filters

MATCHING = {
    "name": "Blue jeans",
    "note": None,
    "price": 20.0,
    "stock": 5,
    "active": True,
    "released": "2024-05-06T07:08:09Z",
}
OTHER = {
    "name": "Red hat",
    "note": "x",
    "price": 99.0,
    "stock": 1,
    "active": False,
    "released": "2999-01-01T00:00:00Z",
}
FILTERS: dict[str, dict[str, Any]] = {
    "_eq": {"name": {"_eq": "Blue jeans"}},
    "_neq": {"name": {"_neq": "Red hat"}},
    "_lt": {"price": {"_lt": 21}},
    "_lte": {"price": {"_lte": 20}},
    "_gt": {"stock": {"_gt": 4}},
    "_gte": {"stock": {"_gte": 5}},
    "_in": {"stock": {"_in": [4, 5]}},
    "_nin": {"stock": {"_nin": [1, 51]}},
    "_between": {"price": {"_between": [10, 30]}},
    "_nbetween": {"price": {"_nbetween": [90, 100]}},
    "_null": {"note": {"_null": True}},
    "_nnull": {"name": {"_nnull": True}},
    "_empty": {"note": {"_empty": True}},
    "_nempty": {"name": {"_nempty": True}},
    "_contains": {"name": {"_contains": "jea"}},
    "_ncontains": {"name": {"_ncontains": "hat"}},
    "_icontains": {"name": {"_icontains": "JEA"}},
    "_starts_with": {"name": {"_starts_with": "Blue"}},
    "_nstarts_with": {"name": {"_nstarts_with": "Red"}},
    "_istarts_with": {"name": {"_istarts_with": "blue"}},
    "_nistarts_with": {"name": {"_nistarts_with": "red"}},
    "_ends_with": {"name": {"_ends_with": "jeans"}},
    "_nends_with": {"name": {"_nends_with": "hat"}},
    "_iends_with": {"name": {"_iends_with": "JEANS"}},
    "_niends_with": {"name": {"_niends_with": "HAT"}},
    "a boolean": {"active": {"_eq": True}},
    "_and": {"_and": [{"stock": {"_gt": 4}}, {"price": {"_lt": 21}}]},
    "_or": {"_or": [{"stock": {"_eq": 5}}, {"price": {"_eq": 1}}]},
    "of a relation": {"maker": {"name": {"_eq": "Filter maker"}}},
    "$NOW": {"released": {"_lte": "$NOW(-1 day)"}},
    "$CURRENT_USER": {"_and": [{"owner": {"_eq": "$CURRENT_USER"}}, {"stock": {"_eq": 5}}]},
    "a function": {"year(released)": {"_eq": 2024}},
}
#: Those that match both items too, because null is neither in nor out.
BOTH = {"_nnull", "_nempty"}


@pytest.mark.parametrize("operator", FILTERS)
async def test_each_operator_of_a_filter(
    operator: str, server: Server, catalogue: DirectusAdmin, make_client: MakeClient
) -> None:
    """Only what matches comes in; the server filters, and understands ours."""
    events: list[Event] = []
    client = await make_client(server)
    await client.subscribe(
        "products",
        events=["create"],
        filter=FILTERS[operator],
        fields=["name"],
        on_event=events.append,
    )
    maker = catalogue.create_item("authors", {"name": "Filter maker"})["id"]
    catalogue.create_item("products", OTHER)
    catalogue.create_item("products", {**MATCHING, "maker": maker})
    await arrived(events, 2 if operator in BOTH else 1)
    names = [event.data["name"] for event in events if event.data]
    assert names == (["Red hat"] if operator in BOTH else []) + ["Blue jeans"]


@pytest.mark.parametrize("operator", ["_regex", "_nicontains", "_submitted"])
async def test_operators_that_directus_has_for_other_uses(
    operator: str, server: Server, catalogue: DirectusAdmin, make_client: MakeClient
) -> None:
    """Known to its rules of validation, refused in a filter, with its own sentence."""
    client = await make_client(server)
    with pytest.raises(SubscriptionRefused, match=operator):
        await client.subscribe("products", filter={"name": {operator: "x"}})


@pytest.mark.parametrize(("operator", "expected"), [("_some", "with"), ("_none", "without")])
async def test_the_operators_of_a_to_many_relation(
    operator: str,
    expected: str,
    server: Server,
    catalogue: DirectusAdmin,
    make_client: MakeClient,
) -> None:
    """``_some`` and ``_none`` of the items that point here."""
    events: list[Event] = []
    client = await make_client(server)
    await client.subscribe(
        "authors",
        events=["create"],
        filter={"products": {operator: {"name": {"_eq": "Of a maker"}}}},
        fields=["name"],
        on_event=events.append,
    )
    catalogue.create_item("authors", {"name": "with", "products": [{"name": "Of a maker"}]})
    catalogue.create_item("authors", {"name": "without"})
    await arrived(events, 1)
    assert [event.data["name"] for event in events if event.data] == [expected]


async def test_a_filter_written_with_q(
    server: Server, catalogue: DirectusAdmin, make_client: MakeClient
) -> None:
    """Django's lookups, across a relation, negated and combined."""
    events: list[Event] = []
    client = await make_client(server)
    condition = Q(name__icontains="BLUE", maker__name="Q maker") & ~Q(price__range=(90, 100))
    await client.subscribe("products", filter=condition, on_event=events.append)
    maker = catalogue.create_item("authors", {"name": "Q maker"})["id"]
    catalogue.create_item("products", {"name": "Blue", "maker": maker, "price": 95})
    made = catalogue.create_item("products", {"name": "Blue", "maker": maker, "price": 20})["id"]
    await arrived(events, 1)
    assert told(events) == [("create", made)]


# The rest of a query


async def test_fields_deep_alias_and_search(
    server: Server, catalogue: DirectusAdmin, make_client: MakeClient
) -> None:
    """All of a query but ``limit``, ``offset`` and ``page`` reaches the server."""
    events: list[Event] = []
    client = await make_client(server)
    await client.subscribe(
        "authors",
        events=["update"],
        fields=["called", "products.name"],
        alias={"called": "name"},
        deep={"products": {"_sort": ["-name"], "_limit": 1}},
        search="needle",
        on_event=events.append,
    )
    products = [{"name": "a"}, {"name": "b"}]
    for name in ("hay", "needle"):
        made = catalogue.create_item("authors", {"name": name, "products": products})["id"]
        catalogue.update_item("authors", made, {"name": f"{name}!"})
    await arrived(events, 1)
    (event,) = events
    assert event.key == made
    assert event.data == {"id": made, "called": "needle!", "products": [{"name": "b"}]}


async def test_sort_orders_the_items_of_a_message(
    server: Server, catalogue: DirectusAdmin, make_client: MakeClient
) -> None:
    """A batch comes in the order that the subscription asks for."""
    events: list[Event] = []
    client = await make_client(server)
    made = catalogue.create_items("products", [{"price": price} for price in (2, 3, 1)])
    await client.subscribe("products", events=["update"], sort=["-price"], on_event=events.append)
    catalogue.update_items("products", [each["id"] for each in made], {"name": "sorted"})
    await arrived(events, 3)
    assert [event.data["price"] for event in events if event.data] == [3, 2, 1]


@pytest.mark.parametrize("fields", [["*", "maker.*"], ["*.*"]], ids=",".join)
async def test_fields_with_stars(
    fields: list[str], server: Server, catalogue: DirectusAdmin, make_client: MakeClient
) -> None:
    """``*`` for the fields, ``*.*`` for those of relations as well."""
    events: list[Event] = []
    client = await make_client(server)
    await client.subscribe("products", events=["create"], fields=fields, on_event=events.append)
    maker = catalogue.create_item("authors", {"name": "Annie"})["id"]
    made = catalogue.create_item("products", {"name": "star", "maker": maker})["id"]
    await arrived(events, 1)
    assert events[0].data is not None
    assert events[0].data["id"] == made
    assert events[0].data["name"] == "star"
    assert events[0].data["maker"]["name"] == "Annie"


async def test_fields_of_a_many_to_any_relation(
    server: Server, catalogue: DirectusAdmin, make_client: MakeClient
) -> None:
    """``blocks.item:authors.name``: fields by the collection that an item is of."""
    events: list[Event] = []
    client = await make_client(server)
    fields = ["title", "blocks.kind", "blocks.item:authors.name", "blocks.item:products.price"]
    await client.subscribe("pages", events=["create"], fields=fields, on_event=events.append)
    blocks = [
        {"kind": "authors", "item": {"name": "Annie"}},
        {"kind": "products", "item": {"price": 3.5}},
    ]
    catalogue.create_item("pages", {"title": "any", "blocks": blocks})
    await arrived(events, 1)
    assert events[0].data is not None
    assert events[0].data["blocks"] == [
        {"kind": "authors", "item": {"name": "Annie"}},
        {"kind": "products", "item": {"price": 3.5}},
    ]


async def test_a_helper_for_each_action(
    server: Server, catalogue: DirectusAdmin, make_client: MakeClient
) -> None:
    """Each brings its own action, and nothing else."""
    created: list[Event] = []
    updated: list[Event] = []
    deleted: list[Event] = []
    client = await make_client(server)
    await client.subscribe_to_create("pages", on_event=created.append)
    await client.subscribe_to_update("pages", on_event=updated.append)
    await client.subscribe_to_delete("pages", on_event=deleted.append)
    made = catalogue.create_item("pages", {"title": "x"})["id"]
    catalogue.update_item("pages", made, {"title": "y"})
    catalogue.delete_item("pages", made)
    await await_for(lambda: created and updated and deleted)
    assert told(created + updated + deleted) == [
        ("create", made),
        ("update", made),
        ("delete", made),
    ]


async def test_t18_sorting_by_hand_tells_of_the_moved_item_alone(
    server: Server, catalogue: DirectusAdmin, make_client: MakeClient
) -> None:
    """T18: the others are shifted without a word, and the log has nothing of it."""
    catalogue.create_collection("ranked", {"rank": "integer"})
    catalogue.request("PATCH", "/collections/ranked", {"meta": {"sort_field": "rank"}})
    items = catalogue.create_items("ranked", [{"rank": rank} for rank in (1, 2, 3)])
    first, _, last = (each["id"] for each in items)
    events: list[Event] = []
    client = await make_client(server)
    await client.subscribe("ranked", on_event=events.append)
    catalogue.request("POST", "/utils/sort/ranked", {"item": last, "to": first})
    mark = catalogue.create_item("ranked", {})["id"]
    await await_for(lambda: ("create", mark) in told(events))
    assert told(events) == [("update", last), ("create", mark)]
    ranks = await client.read_items("ranked", fields=["rank"], filter=Q(id=first))
    assert ranks == [{"rank": 2}]
    logged = await client.read_items(
        "directus_activity", filter=Q(collection="ranked", action="update"), fields=["id"]
    )
    assert logged == []


# Reads


async def test_aggregates(
    server: Server, catalogue: DirectusAdmin, make_client: MakeClient
) -> None:
    """``count``, ``sum``, ``avg``, ``min``, ``max``, and groups."""
    client = await make_client(server)
    items = [("aggregate a", 1.0), ("aggregate a", 3.0), ("aggregate b", 8.0)]
    catalogue.create_items("products", [{"name": name, "price": price} for name, price in items])
    condition = Q(name__startswith="aggregate")
    aggregate = {"count": "*", "sum": "price", "avg": "price", "min": "price", "max": "price"}
    (all_of_it,) = await client.read_items("products", filter=condition, aggregate=aggregate)
    assert all_of_it == {
        "count": 3,
        "sum": {"price": 12},
        "avg": {"price": 4},
        "min": {"price": 1},
        "max": {"price": 8},
    }
    groups = await client.read_items(
        "products", filter=condition, aggregate={"count": "*"}, groupBy=["name"], sort=["name"]
    )
    assert groups == [{"name": "aggregate a", "count": 2}, {"name": "aggregate b", "count": 1}]


# System collections


@pytest.fixture(scope="session")
def changes(server: Server, catalogue: DirectusAdmin) -> dict[str, Change]:
    return system_changes(server, catalogue)


@pytest.mark.parametrize("name", NAMES)
async def test_the_helper_of_a_system_collection(
    name: str, server: Server, changes: dict[str, Change], make_client: MakeClient
) -> None:
    """Chapter 7: create, update and delete; what Directus 10 does not send is said."""
    events: list[Event] = []
    marks: list[Event] = []
    client = await make_client(server)
    if name not in changes:
        assert server.major == 10
        if name == "comments":
            assert "Directus 10" in known_gap("directus_comments", server.version)
        return
    subscription = await getattr(client, f"subscribe_to_{name}")(on_event=events.append)
    assert subscription.query.collection == f"directus_{name}"
    await client.subscribe("articles", on_event=marks.append)
    if name == "files":
        made = upload(server)
    else:
        made = server.admin.request("POST", f"/{name}", changes[name].new)["id"]
    server.admin.request("PATCH", f"/{name}/{made}", changes[name].change)
    server.admin.request("DELETE", f"/{name}/{made}")
    if gap := known_gap(f"directus_{name}", server.version):
        assert "Directus 10 sends no" in gap
        server.admin.create_item("articles", {})
        await arrived(marks, 1)
        assert events == []
        return
    await await_for(
        lambda: (
            [told([e])[0][0] for e in events if e.key == made] == ["create", "update", "delete"]
        ),
        what=f"{told(events)} to be complete",
    )


async def test_the_helper_of_permissions(server: Server, make_client: MakeClient) -> None:
    """Chapter 7: the app's own permissions, which have no id, are left out."""
    events: list[Event] = []
    client = await make_client(server)
    await client.subscribe_to_permissions(on_event=events.append)
    made = server.admin.request("POST", "/permissions", permission_change(server).new)["id"]
    server.admin.request("DELETE", f"/permissions/{made}")
    await arrived(events, 2)
    assert told(events) == [("create", made), ("delete", made)]


async def test_the_helpers_of_the_log(server: Server, make_client: MakeClient) -> None:
    """T7: with SQLite the log is told; that it is not on PostgreSQL is said."""
    activity: list[Event] = []
    revisions: list[Event] = []
    client = await make_client(server)
    await client.subscribe_to_activity(fields=["item"], on_event=activity.append)
    await client.subscribe_to_revisions(fields=["item"], on_event=revisions.append)
    made = server.admin.create_item("articles", {"title": "logged"})["id"]
    await await_for(lambda: activity and revisions)
    for event in (activity[0], revisions[0]):
        assert (event.action, event.data and event.data["item"]) == ("create", str(made))
    for name in ("directus_activity", "directus_revisions"):
        assert "PostgreSQL" in known_gap(name, server.version)
