"""Known items of a subscription that a load does not find: they are gone, or left the filter.

Items are known from the table of matched items, and from the events in the inbox. Directus
gives the same answer for missing and forbidden items, so an item that is not found is *gone*
only where the token may read every item of the collection.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from directus_realtime.client import DirectusClient
from directus_realtime.client.keys import PrimaryKey
from directus_realtime.database import DatabaseThread, chunks
from directus_realtime.events import Key
from directus_realtime.listener.desired_subscriptions import DesiredSubscription
from directus_realtime.models import InboxEvent, MatchedItem
from directus_realtime.utils.json_parser import parse_json

#: Rows of one query.
_PAGE = 5000
#: Items of one read.
_ITEMS = 1000


@dataclass
class Departed:
    """A page of known items that the load did not find.

    Attributes:
        present: Items that match after all, by key.
        outside: Items that exist and do not match, by key.
        gone: Keys of items that do not exist.
        unknown: Keys of items that do not exist, or are hidden from the token.
    """

    present: dict[Key, dict[str, Any]] = field(default_factory=dict)
    outside: dict[Key, dict[str, Any]] = field(default_factory=dict)
    gone: list[Key] = field(default_factory=list)
    unknown: list[Key] = field(default_factory=list)


class DepartedItems:
    """The known items of a subscription, without those that a load has found.

    Attributes:
        reads_all: Whether the token may read every item of the collection.
    """

    def __init__(
        self,
        client: DirectusClient,
        database: DatabaseThread,
        desired: DesiredSubscription,
        primary_key: PrimaryKey,
    ) -> None:
        self._client = client
        self._database = database
        self._desired = desired
        self._primary_key = primary_key
        self._known: set[Key] = set()
        self.reads_all = False

    async def learn(self) -> None:
        """Read the known items and the rights of the token; call it before the load.

        Raises:
            RequestRefused: Directus is not ready to answer.
            ConnectionFailed: Directus could not be reached.
        """
        collection = self._desired.query.collection
        rights = await self._client.rights.of_collections() or {}
        self.reads_all = collection in rights and rights[collection].access == "full"
        keys = [*await self._keys_of_events(), *await self._matched_keys()]
        self._known = {self._primary_key.canonical(parse_json(key)) for key in keys}

    def found(self, keys: Iterable[Key]) -> None:
        """Remove items that the load has found."""
        self._known.difference_update(keys)

    async def pages(self, changed: Collection[Key]) -> AsyncIterator[Departed]:
        """Read the remaining items, page by page.

        Args:
            changed: Keys of items that changed since the load began: they have events of their
                own. It may grow meanwhile.

        Raises:
            RequestRefused: Directus refuses the query, or is not ready to answer.
            ConnectionFailed: Directus could not be reached.
        """
        for chunk in chunks(sorted(self._known, key=str), _ITEMS):
            yield await self._read([key for key in chunk if key not in changed])

    async def _read(self, keys: list[Key]) -> Departed:
        query, primary_key = self._desired.query, self._primary_key
        read = await self._client.read_by_keys(query, primary_key, keys)
        departed = Departed(present=read.rows)
        known = read.rows.keys() | read.unreadable.keys() | read.aliases.keys()
        missing = [key for key in keys if key not in known]
        if missing and query.has_condition:
            bare = query.without_condition()
            others = await self._client.read_by_keys(bare, primary_key, missing)
            departed.outside = others.rows
            known = others.rows.keys() | others.unreadable.keys() | others.aliases.keys()
            missing = [key for key in missing if key not in known]
        if self.reads_all:
            departed.gone = missing
        else:
            departed.unknown = missing
        return departed

    async def _keys_of_events(self) -> Iterable[str]:
        """Return the keys of the items that were there at their last event, as JSON."""
        there: dict[str, None] = {}
        last = 0
        while page := await self._database.run_with_retry(self._events_after, last):
            last = page[-1][0]
            for _pk, name, collection, key, action, left_filter in page:
                if (name, collection) != (self._desired.name, self._desired.query.collection):
                    continue
                if action == "delete" or left_filter:
                    there.pop(key, None)
                else:
                    there[key] = None
        return there

    def _events_after(self, last: int) -> list[tuple[int, str, str, str, str, bool]]:
        # Not by subscription, for which there is no index: one query would read all of the table.
        rows = InboxEvent.objects.filter(connection=self._client.name, pk__gt=last).order_by("pk")
        columns = "pk", "subscription", "collection", "key_json", "action", "left_filter"
        return list(rows.values_list(*columns)[:_PAGE])

    async def _matched_keys(self) -> list[str]:
        """Return the keys of the items that matched the filter, as JSON."""
        if self._desired.memory is None:
            return []
        keys: list[str] = []
        last = 0
        while page := await self._database.run_with_retry(partial(self._matched_after, last)):
            last = page[-1][0]
            keys += [key for _pk, key in page if key]
        return keys

    def _matched_after(self, last: int) -> list[tuple[int, str]]:
        rows = MatchedItem.objects.filter(
            subscription_id=self._desired.subscription_id, pk__gt=last
        )
        return list(rows.order_by("pk").values_list("pk", "key_json")[:_PAGE])
