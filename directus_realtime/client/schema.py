"""What a server says of its collections and fields, for people who choose among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from directus_realtime.client.responses import taken_apart
from directus_realtime.client.rest import RestClient
from directus_realtime.exceptions import RequestRefused


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
