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
        type: Directus's type such as ``string`` or ``timestamp``; empty where the token may
            not see it.
        is_key: Whether it is the primary key.
        related: The collection that it leads to; empty where it is no relation.
        is_many: Whether it leads to many items.
        choices: Values that Directus offers for it, each with its label.
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
        collections: By name, the fields of each by name.
        is_complete: Whether the server told types and relations; it tells them only a token
            that may read ``directus_collections``, ``directus_fields`` and
            ``directus_relations``.
    """

    collections: dict[str, dict[str, Field]] = field(default_factory=dict)
    is_complete: bool = True


async def read_schema(rest: RestClient) -> Schema:
    """The collections, their fields and relations.

    A token that may not read the schema is told what its own permissions name: collections
    and fields without types.

    Raises:
        RequestRefused: Directus answered with an error.
        ConnectionFailed: Directus could not be reached.
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
    """Where each relational field leads to, and whether to many items."""
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
    """The project's own collections before those of the system."""
    return name.startswith("directus_"), name


#: Answers that mean: this token may not, or this server does not know how.
_REFUSALS = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})

#: The collections that a relational field leads to, by collection and field.
Relations = Mapping[tuple[str, str], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Right:
    """What may be read of one collection.

    Attributes:
        access: ``full``, ``partial`` (a rule leaves out items) or ``none``.
        fields: Names; ``*`` for all.
    """

    access: str = "none"
    fields: frozenset[str] = frozenset()

    def lacks(self, fields: Iterable[str]) -> list[str]:
        """Which of these fields may not be read."""
        if self.access == "none":
            return sorted(fields)
        return [] if "*" in self.fields else sorted(set(fields) - self.fields)


class Rights:
    """Asks Directus for rights over REST. Every method may raise :class:`RequestRefused`,
    where Directus is not ready to answer, or :class:`ConnectionFailed`.

    Args:
        rest: To ask with.
    """

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest

    async def of_collections(self) -> dict[str, Right] | None:
        """What the token may read, by collection; ``None`` where it cannot be asked for.

        Directus 10 has no such request.
        """
        found = await self._ask(path := "/permissions/me")
        if found is None:
            return None
        with taken_apart(path):
            return {name: _right(each) for name, each in found.items()}

    async def is_admin(self) -> bool:
        """Whether the user may do everything."""
        found = await self._ask(path := "/policies/me/globals")
        with taken_apart(path):
            return bool(found and found.get("admin_access"))

    async def relations(self) -> Relations | None:
        """All relations that the token may see; ``None`` where it may see none."""
        found = await self._ask(path := "/relations")
        if found is None:
            return None
        with taken_apart(path):
            return _relations(found)

    async def foreign_keys(self, collection: str) -> dict[str, str]:
        """The collections that the fields of one lead to, where its columns tell."""
        found = await self._ask(path := f"/fields/{quote(collection, safe='')}")
        with taken_apart(path):
            schemas = {each["field"]: each.get("schema") or {} for each in found or ()}
            return {
                name: table
                for name, schema in schemas.items()
                if (table := schema.get("foreign_key_table"))
            }

    async def primary_key(self, collection: str) -> str:
        """Name of a collection's primary key; ``id`` where that may not be seen."""
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
