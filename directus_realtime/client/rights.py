"""What the token may read, and how collections hang together, as far as it may see that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from directus_realtime.client.responses import taken_apart
from directus_realtime.client.rest import RestClient
from directus_realtime.exceptions import RequestRefused, SubscriptionRefused

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
