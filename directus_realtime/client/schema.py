"""The server's collections, fields and relations, and the rights of the token to read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from directus_realtime.client.rest import RestClient
from directus_realtime.client.rest_messages import taken_apart
from directus_realtime.exceptions import RequestRefused, SubscriptionRefused


@dataclass(frozen=True)
class Field:
    """A field of a collection.

    Attributes:
        type: Directus's type, for example ``string``; empty where the token may not see it.
        is_key: Whether it is the primary key.
        related: Collection of the related items; empty where it is no relation.
        is_many: Whether it relates to many items.
        choices: Values that Directus offers, each with its label.
    """

    type: str = ""
    is_key: bool = False
    related: str = ""
    is_many: bool = False
    choices: tuple[tuple[Any, str], ...] = ()


@dataclass(frozen=True)
class Schema:
    """The collections that a token may see.

    Attributes:
        collections: Fields by name, by the name of the collection.
        is_complete: Whether types and relations are known; the token needs read on
            ``directus_collections``, ``directus_fields`` and ``directus_relations`` for that.
    """

    collections: dict[str, dict[str, Field]] = field(default_factory=dict)
    is_complete: bool = True


async def read_schema(rest: RestClient) -> Schema:
    """Read the collections, their fields and relations.

    For a token that may not read the schema these are the collections and fields, without
    types, that its permissions name.
    """
    try:
        collections = await rest.search("/collections")
        fields = await rest.get_fresh("/fields")
        relations = await rest.get_fresh("/relations")
    except RequestRefused as error:
        if error.status != 403:
            raise
        try:
            permissions = await rest.get_fresh("/permissions/me")
        except RequestRefused:
            raise error from None  # Directus 10 cannot be asked
        with taken_apart("/permissions/me"):
            return _permitted(permissions)
    with taken_apart("/collections, /fields or /relations"):
        return _described(collections, fields, relations)


def _described(
    collections: Iterable[Any], fields: Iterable[Any], relations: Iterable[Any]
) -> Schema:
    # Without a schema it is a folder of collections.
    names = sorted(each["collection"] for each in collections if each.get("schema") is not None)
    schema = Schema({name: {} for name in sorted(names, key=_own_first)})
    leads_to = _leads_to(relations)
    for each in fields:
        place = each["collection"], each["field"]
        related, is_many = leads_to.get(place, ("", False))
        if place[0] in schema.collections and (each["type"] != "alias" or related):
            schema.collections[place[0]][place[1]] = Field(
                type=each["type"],
                is_key=bool((each.get("schema") or {}).get("is_primary_key")),
                related=related,
                is_many=is_many,
                choices=_choices(each.get("meta") or {}),
            )
    return schema


def _leads_to(relations: Iterable[Any]) -> dict[tuple[str, str], tuple[str, bool]]:
    """Return the target of each relational field, and whether it is many items."""
    found = {}
    for each in relations:
        if not (related := each.get("related_collection")):
            continue  # to any of several collections
        found[each["collection"], each["field"]] = related, False
        if one_field := (each.get("meta") or {}).get("one_field"):
            found[related, one_field] = each["collection"], True
    return found


def _choices(meta: Mapping[str, Any]) -> tuple[tuple[Any, str], ...]:
    options = meta.get("options")
    choices = options.get("choices") if isinstance(options, dict) else None
    return tuple(
        (each["value"], str(each.get("text") or each["value"]))
        for each in (choices if isinstance(choices, list) else ())
        if isinstance(each, dict) and isinstance(each.get("value"), str | int | float)
    )


def _permitted(permissions: Mapping[str, Any]) -> Schema:
    schema = Schema(is_complete=False)
    for name in sorted(permissions, key=_own_first):
        read = permissions[name].get("read", {})
        if read.get("access", "none") != "none":
            fields = [each for each in read.get("fields") or () if each != "*"]
            schema.collections[name] = {each: Field() for each in fields}
    return schema


def _own_first(name: str) -> tuple[bool, str]:
    # The project's own collections come before those of the system.
    return name.startswith("directus_"), name


#: Statuses of requests that the token or the version of the server does not allow.
_REFUSALS = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})

#: Target collections of each relational field, by collection and field.
Relations = Mapping[tuple[str, str], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Right:
    """Right to read one collection.

    Attributes:
        access: ``full``, ``partial`` (a rule hides items) or ``none``.
        fields: Names of readable fields; ``*`` for all.
    """

    access: str = "none"
    fields: frozenset[str] = frozenset()

    def lacks(self, fields: Iterable[str]) -> list[str]:
        """Return the fields among these that may not be read."""
        if self.access == "none":
            return sorted(fields)
        return [] if "*" in self.fields else sorted(set(fields) - self.fields)


class Rights:
    """Reader of the token's rights. Every method may raise :class:`RequestRefused`, where
    Directus is not ready to answer, or :class:`ConnectionFailed`.

    Args:
        rest: REST client to read with.
    """

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest

    async def of_collections(self) -> dict[str, Right] | None:
        """Return the rights by collection; ``None`` on Directus 10, which has no such request."""
        found = await self._ask(path := "/permissions/me")
        if found is None:
            return None
        with taken_apart(path):
            return {name: _right(each) for name, each in found.items()}

    async def is_admin(self) -> bool:
        """Return whether the user is an administrator."""
        found = await self._ask(path := "/policies/me/globals")
        with taken_apart(path):
            return bool(found and found.get("admin_access"))

    async def relations(self) -> Relations | None:
        """Return all relations; ``None`` where the token may not see them."""
        found = await self._ask(path := "/relations")
        if found is None:
            return None
        with taken_apart(path):
            return _relations(found)

    async def foreign_keys(self, collection: str) -> dict[str, str]:
        """Return the target collections of a collection's foreign keys, by field."""
        found = await self._ask(path := f"/fields/{quote(collection, safe='')}")
        with taken_apart(path):
            schemas = {each["field"]: each.get("schema") or {} for each in found or ()}
            return {
                name: table
                for name, schema in schemas.items()
                if (table := schema.get("foreign_key_table"))
            }

    async def primary_key(self, collection: str) -> str:
        """Return the name of a collection's primary key; ``id`` where the token may not see it."""
        try:
            return (await self._rest.primary_key(collection)).name
        except SubscriptionRefused:
            return "id"

    async def _ask(self, path: str) -> Any:
        try:
            return await self._rest.get_fresh(path)
        except RequestRefused as error:
            if error.status in _REFUSALS:
                return None
            raise


def _relations(found: Iterable[Any]) -> Relations:
    relations: dict[tuple[str, str], tuple[str, ...]] = {}
    for each in found:
        meta = each.get("meta") or {}
        many, one = each["collection"], each.get("related_collection")
        targets = (one,) if one else tuple(meta.get("one_allowed_collections") or ())
        relations[many, each["field"]] = targets
        if one and meta.get("one_field"):
            relations[one, meta["one_field"]] = (many,)
    return relations


def _right(permissions: Mapping[str, Any]) -> Right:
    read = permissions.get("read") or {}
    return Right(str(read.get("access", "none")), frozenset(read.get("fields") or ()))
