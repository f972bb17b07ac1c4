"""The collections of a fake Directus, and their descriptions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from directus_realtime.testing.fake.refusals import forbidden, forbidden_collection

Item = dict[str, Any]
Filter = dict[str, Any]
Key = int | str
KeyType = Literal["integer", "uuid", "string"]
FieldType = str | tuple[str, str]

SYSTEM = "directus_"
ACTIVITY = "directus_activity"
USERS = "directus_users"
NOTIFICATIONS = "directus_notifications"
TIMESTAMPS = ("date-created", "date-updated")  # timestamps that Directus fills by itself
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)
PREFIXED = re.compile(r"0[xXoObB]")
NUMERAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?\Z", re.ASCII)
DATA_TYPES = {  # of SQLite, where they differ from Directus's
    "string": "varchar",
    "uuid": "char",
    "bigInteger": "bigint",
    "timestamp": "datetime",
    "dateTime": "datetime",
}


@dataclass
class FakeCollection:
    """One collection.

    Args:
        name: Its name.
        primary_key: The name of the primary key's field.
        key_type: ``"integer"`` counts, ``"uuid"`` is random, ``"string"`` must be given.
        fields: The other fields: name to Directus type, ``"date-created"``, ``"date-updated"``
            or ``("m2o", "other_collection")``.
        items: The first items.
        accountability: With ``"all"`` and ``"activity"`` the activity log has a row for each
            change, with ``None`` it has none.
        defaults: Values of fields that a new item does not have.
        keyless: Rows without a key at the end of every list, as in ``directus_permissions``.
    """

    name: str
    primary_key: str = "id"
    key_type: KeyType = "integer"
    fields: Mapping[str, FieldType] = field(default_factory=dict)
    items: Sequence[Item] = ()
    accountability: Literal["all", "activity"] | None = "all"
    defaults: Item = field(default_factory=dict)
    keyless: Sequence[Item] = ()

    @property
    def field_names(self) -> list[str]:
        """Every field, the primary key first."""
        return [self.primary_key, *(name for name in self.fields if name != self.primary_key)]

    def related(self, name: str) -> str | None:
        """Return the collection a many-to-one field points at, else None."""
        kind = self.fields.get(name)
        return kind[1] if isinstance(kind, tuple) else None

    def cast_key(self, key: Any) -> Key | None:
        """Return the key in the primary key's type, or None if it cannot be one."""
        return whole_number(key) if self.key_type == "integer" else str(key)

    def check_keys(self, keys: Iterable[Any]) -> None:
        """Refuse keys of the wrong type, as Directus does before it reads by key."""
        for key in keys:
            if self.cast_key(key) is None or (self.key_type == "uuid" and not UUID.match(str(key))):
                raise forbidden()


def whole_number(written: Any) -> int | None:
    """Return the integer that JavaScript's ``Number`` makes of ``" 42 "``, ``"4.2e1"``, …"""
    text = str(written).strip()
    try:
        if PREFIXED.match(text):
            return int(text, 0)
        number = Decimal(text) if NUMERAL.match(text) else None
    except (ValueError, ArithmeticError):
        return None
    return int(number) if number is not None and number == number.to_integral_value() else None


def default_collections() -> list[FakeCollection]:
    """Return the collections of a fake without arguments: articles."""
    fields: dict[str, FieldType] = {
        "title": "string",
        "body": "text",
        "status": "string",
        "date_updated": "date-updated",
    }
    return [FakeCollection("articles", fields=fields)]


class Schema:
    """All collections, the system's among them."""

    def __init__(self, collections: Iterable[FakeCollection]) -> None:
        self.collections = {each.name: each for each in (*collections, *_system_collections())}

    def __contains__(self, name: str) -> bool:
        return name in self.collections

    def __getitem__(self, name: str) -> FakeCollection:
        """Return a collection, or raise Directus's refusal."""
        try:
            return self.collections[name]
        except KeyError:
            raise forbidden_collection(name) from None

    def type_of(self, collection: FakeCollection, name: str) -> str:
        """Return the Directus type of a field; a relation has the type of the other key."""
        if name == collection.primary_key:
            return collection.key_type
        kind = collection.fields[name]
        if isinstance(kind, tuple):
            return self[kind[1]].key_type
        return "timestamp" if kind in TIMESTAMPS else kind

    def describe_collection(self, collection: FakeCollection) -> Item:
        """Return a collection as ``GET /collections/:collection`` describes it."""
        meta = {
            "collection": collection.name,
            "singleton": False,
            "sort_field": None,
            "accountability": collection.accountability,
            "hidden": False,
        }
        return {"collection": collection.name, "meta": meta, "schema": {"name": collection.name}}

    def describe_fields(self, collection: FakeCollection) -> list[Item]:
        """Return the fields of a collection as ``GET /fields/:collection`` describes them."""
        return [self.describe_field(collection, name) for name in collection.field_names]

    def describe_relations(self) -> list[Item]:
        """Return every many-to-one relation as ``GET /relations`` describes it."""
        return [
            {
                "collection": each.name,
                "field": name,
                "related_collection": related,
                "schema": {"table": each.name, "column": name, "foreign_key_table": related},
                "meta": None,
            }
            for each in self.collections.values()
            for name in each.fields
            if (related := each.related(name))
        ]

    def describe_field(self, collection: FakeCollection, name: str) -> Item:
        """Return a field as ``GET /fields/:collection/:field`` describes it."""
        kind = self.type_of(collection, name)
        is_key = name == collection.primary_key
        related = collection.related(name)
        schema = {
            "name": name,
            "table": collection.name,
            "data_type": DATA_TYPES.get(kind, kind),
            "is_nullable": not is_key,
            "is_primary_key": is_key,
            "has_auto_increment": is_key and kind == "integer",
            "foreign_key_table": related,
            "foreign_key_column": self[related].primary_key if related else None,
        }
        described = {"collection": collection.name, "field": name, "type": kind}
        return {**described, "schema": schema, "meta": None}


def _system_collections() -> list[FakeCollection]:
    activity: dict[str, FieldType] = {
        "action": "string",
        "user": ("m2o", USERS),
        "timestamp": "timestamp",
        **dict.fromkeys(("ip", "user_agent", "collection", "item", "origin"), "string"),
        "revisions": "json",
    }
    users: dict[str, FieldType] = {"first_name": "string", "last_name": "string"}
    users |= {"email": "string", "status": "string", "role": "uuid", "policies": "json"}
    notifications: dict[str, FieldType] = {
        "timestamp": "date-created",
        "status": "string",
        "recipient": ("m2o", USERS),
        "sender": ("m2o", USERS),
        "subject": "string",
        "message": "text",
        "collection": "string",
        "item": "string",
    }
    return [
        FakeCollection(ACTIVITY, fields=activity),
        FakeCollection(USERS, key_type="uuid", fields=users),
        FakeCollection(NOTIFICATIONS, fields=notifications, defaults={"status": "inbox"}),
    ]
