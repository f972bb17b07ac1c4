"""Items read over REST as a subscription sees them: by key, the newest ones, or all of them.

A load of all items reads their keys first, then the items by key, so that an item that is added
or deleted in the meantime moves no other across the edge of a page. An item that Directus fails
to read does not fail the others.

Every function may raise :class:`RequestRefused`, where Directus refuses the query or is not ready,
or :class:`ConnectionFailed`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from directus_realtime.client.keys import PrimaryKey
from directus_realtime.client.rest import RestClient, items_path
from directus_realtime.client.rest_messages import (
    MALFORMED,
    batches,
    is_not_ready,
    malformed,
    taken_apart,
)
from directus_realtime.events import Key
from directus_realtime.exceptions import RequestRefused
from directus_realtime.protocol.queries import Query

#: Keys of one request for keys alone.
_KEYS_PAGE = 10_000
#: Items of one request: with more, Directus refuses the requests of others in the meantime.
_ITEMS_PAGE = 1_000
#: Characters of the keys of one request; Directus takes 1 MB by default.
_KEYS_BUDGET = 500_000

Row = dict[str, Any]


@dataclass(frozen=True)
class ItemsRead:
    """Items read by key; all other keys were not found.

    Attributes:
        rows: The items by their canonical keys, in the requested order.
        unreadable: Keys of items that Directus fails to read, each with a sentence.
        aliases: Keys whose requested spelling the database takes for another key, for example
            one in upper case, each with the key in ``rows``.
    """

    rows: dict[Key, Row] = field(default_factory=dict)
    unreadable: dict[Key, str] = field(default_factory=dict)
    aliases: dict[Key, Key] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """A page of a first load.

    Attributes:
        rows: The items with their keys.
        done: Number of keys processed so far.
        total: Number of all keys.
        unreadable: Keys of items that Directus fails to read, each with a sentence.
    """

    rows: list[tuple[Key, Row]]
    done: int
    total: int
    unreadable: dict[Key, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CurrentItems:
    """Items in their present state; all other keys were not found.

    Attributes:
        matching: Items in the filter of the subscription, by key.
        others: Readable items outside of the filter and the search, by key.
        unreadable: As in :class:`ItemsRead`.
        aliases: As in :class:`ItemsRead`.
    """

    matching: dict[Key, Row]
    others: dict[Key, Row]
    unreadable: dict[Key, str] = field(default_factory=dict)
    aliases: dict[Key, Key] = field(default_factory=dict)


@dataclass(frozen=True)
class Newest:
    """The newest items of a query.

    Attributes:
        rows: The items with their keys, the newest first.
        is_all: Whether there are no others.
        primary_key: Name of the primary key.
    """

    rows: list[tuple[Key, Row]]
    is_all: bool
    primary_key: str


@dataclass(frozen=True)
class Sample:
    """The newest items of a query, and the number of all.

    Attributes:
        total: Number of matching items.
        key: Name of the primary key.
        items: The newest ones.
    """

    total: int
    key: str
    items: list[Row]


async def read_by_keys(
    rest: RestClient, query: Query, primary_key: PrimaryKey, keys: Iterable[Key]
) -> ItemsRead:
    """Read the items with these keys, in any spelling, that match a query."""
    canonical = dict.fromkeys(primary_key.canonical(key) for key in keys)
    wanted = [key for key in canonical if primary_key.may_be(key)]
    reader = _KeyReader(rest, query, primary_key, await rest.query_limit())
    size = await rest.capped(_ITEMS_PAGE)
    for chunk in batches(wanted, size, _KEYS_BUDGET, _length):
        await reader.read(chunk)
    found = [reader.aliases.get(key, key) for key in wanted]
    rows = {key: reader.rows[key] for key in found if key in reader.rows}
    return ItemsRead(rows, reader.unreadable, reader.aliases)


async def read_current(
    rest: RestClient, query: Query, primary_key: PrimaryKey, keys: Iterable[Key]
) -> CurrentItems:
    """Read the items with these keys, in the filter of a query or not."""
    wanted = list(dict.fromkeys(primary_key.canonical(key) for key in keys))
    read = await read_by_keys(rest, query, primary_key, wanted)
    others = ItemsRead()
    found = read.rows.keys() | read.unreadable.keys() | read.aliases.keys()
    if query.has_condition and (outside := [key for key in wanted if key not in found]):
        others = await read_by_keys(rest, query.without_condition(), primary_key, outside)
    return CurrentItems(
        read.rows,
        others.rows,
        read.unreadable | others.unreadable,
        read.aliases | others.aliases,
    )


async def read_pages(
    rest: RestClient, query: Query, primary_key: PrimaryKey
) -> AsyncIterator[Page]:
    """Read every item that matches, once."""
    keys = [key async for page in read_keys(rest, query, primary_key) for key in page]
    done = 0
    size = await rest.capped(_ITEMS_PAGE)
    for chunk in batches(keys, size, _KEYS_BUDGET, _length):
        read = await read_by_keys(rest, query, primary_key, chunk)
        done += len(chunk)
        yield Page(list(read.rows.items()), done, len(keys), read.unreadable)


async def read_keys(
    rest: RestClient, query: Query, primary_key: PrimaryKey
) -> AsyncIterator[list[Key]]:
    """Read the keys of every item that matches, each once.

    Numbers are read in their order, page by page. Directus has no comparison for other keys:
    those are read at once, or, where ``QUERY_LIMIT_MAX`` forbids that, in numbered pages,
    repeatedly until a pass finds no new key: a change in the meantime moves items between pages.
    """
    if primary_key.is_integer:
        async for page in _keys_in_order(rest, query, primary_key):
            yield page
        return
    seen: set[Key] = set()
    while True:
        before, pages = len(seen), 0
        async for page in _numbered_key_pages(rest, query, primary_key):
            new = [key for key in page if key not in seen]
            seen.update(new)
            pages += 1
            if new:
                yield new
        if pages <= 1 or len(seen) == before:
            return


async def read_newest(rest: RestClient, query: Query, limit: int) -> Newest:
    """Read the newest items of a query, at most ``limit`` of them.

    Raises:
        SubscriptionRefused: The collection does not exist, or the token may not see it.
    """
    primary_key, sort = await rest.newest_first(query.collection)
    parameters = {**query.rest_parameters(primary_key.name), "sort": sort}
    size = await rest.capped(limit + 1)  # one more shows whether there are others
    rows = await rest.search(items_path(query.collection), {**parameters, "limit": size})
    keyed = _keyed(rows, primary_key, query)
    return Newest(keyed[:limit], len(keyed) < size, primary_key.name)


async def read_sample(rest: RestClient, query: Query, size: int) -> Sample:
    """Read the newest items of a query, at most ``size`` of them, and count all.

    Raises:
        SubscriptionRefused: The collection does not exist, or the token may not see it.
    """
    newest = await read_newest(rest, query, size)
    items, key = [item for _, item in newest.rows], newest.primary_key
    if newest.is_all:
        return Sample(len(items), key, items)
    # Distinct, because a filter on a to-many relation gives an item more than once.
    counted = _condition(query, key)
    count = await rest.read_items(query.collection, aggregate={"countDistinct": key}, **counted)
    with taken_apart(f"{items_path(query.collection)} (a count)"):
        return Sample(int(count[0]["countDistinct"][key]), key, items)


class _KeyReader:
    """Reads chunks of keys, and halves a chunk that Directus fails to read."""

    def __init__(self, rest: RestClient, query: Query, primary_key: PrimaryKey, limit: int) -> None:
        self.rows: dict[Key, Row] = {}
        self.unreadable: dict[Key, str] = {}
        self.aliases: dict[Key, Key] = {}
        self._rest = rest
        self._query = query
        self._primary_key = primary_key
        self._is_accepted = False
        self._limit = limit
        parameters = query.rest_parameters(primary_key.name)
        # A row without its key could not be assigned.
        fields = parameters.get("fields") or [primary_key.name, "*"]
        self._parameters = {**parameters, "fields": fields}

    async def read(self, keys: list[Key]) -> None:
        """Read the items with these keys, none of which was read before."""
        try:
            answer = await self._search(keys)
        except RequestRefused as error:
            if not _may_be_of_one_item(error):
                raise
            await self._halve(keys, error)
        else:
            await self._take(keys, answer)

    async def _search(self, keys: list[Key]) -> Any:
        return await self._rest.search(
            items_path(self._query.collection),
            # Not the number of keys: a filter on a to-many relation repeats items.
            {**self._parameters, "limit": self._limit},
            keys=[self._primary_key.wire(key) for key in keys],
            key_field=self._primary_key.name,
        )

    async def _halve(self, keys: list[Key], error: RequestRefused) -> None:
        is_failure = error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if not self._is_accepted or (is_failure and len(keys) == 1):
            await self._raise_unless_accepted(error)
        if len(keys) > 1:
            await self.read(keys[: len(keys) // 2])
            await self.read(keys[len(keys) // 2 :])
        elif is_failure:
            self._note_unreadable(keys[0], error.message)
        # Else no item can have this key, for example a text for a UUID.

    async def _raise_unless_accepted(self, error: RequestRefused) -> None:
        """Raise an error unless Directus accepts the query without items."""
        path = items_path(self._query.collection)
        try:
            await self._rest.search(path, {**self._parameters, "limit": 0})
        except RequestRefused:
            raise error from None
        self._is_accepted = True

    async def _take(self, keys: list[Key], answer: Any) -> None:
        found = dict(_keyed(answer, self._primary_key, self._query))
        by_text = {} if self._primary_key.type else {str(key): key for key in found}
        known = {key: key if key in found else by_text.get(str(key)) for key in keys}
        for key, actual in known.items():
            if actual is not None:
                self._note(key, actual, found[actual])
        missing = [key for key, actual in known.items() if actual is None]
        strangers = [key for key in found if key not in known.values()]
        if not missing or isinstance(answer, dict):  # a singleton ignores the keys
            return
        if 0 < self._limit <= len(answer) and len(keys) > 1:  # the others may be cut off
            await self.read(missing[: len(missing) // 2])
            await self.read(missing[len(missing) // 2 :])
        else:
            await self._resolve(keys, missing, strangers, found)

    async def _resolve(
        self, keys: list[Key], missing: list[Key], strangers: list[Key], found: dict[Key, Row]
    ) -> None:
        """Find the missing keys that the database takes for others, finally one by one."""
        if len(keys) > 1:
            folded = {_folded(key) for key in found}
            suspects = missing if strangers else [key for key in missing if _folded(key) in folded]
            middle = (len(suspects) + 1) // 2
            for half in filter(None, (suspects[:middle], suspects[middle:])):
                await self.read(half)
        elif len(strangers) > 1:
            raise malformed(items_path(self._query.collection))
        elif strangers and isinstance(missing[0], int):
            self._note_unreadable(missing[0], f"Directus gives item {strangers[0]} for it")
        elif strangers:
            self._note(missing[0], strangers[0], found[strangers[0]])

    def _note(self, key: Key, actual: Key, row: Row) -> None:
        self.rows[actual] = row
        if actual != key:
            self.aliases[key] = actual

    def _note_unreadable(self, key: Key, reason: str) -> None:
        sentence = f"{self._query.collection} {key} cannot be read ({reason.rstrip('.')})."
        self.unreadable[key] = sentence


def _folded(key: Key) -> str:
    return str(key).strip().casefold()


def _may_be_of_one_item(error: RequestRefused) -> bool:
    if error.code == MALFORMED or error.status == HTTPStatus.UNAUTHORIZED:
        return False
    return error.status >= HTTPStatus.BAD_REQUEST and not is_not_ready(error)


def _keyed(answer: Any, primary_key: PrimaryKey, query: Query) -> list[tuple[Key, Row]]:
    """Return the items of an answer with their keys; items without a key are left out.

    Raises:
        RequestRefused: The answer is not one of Directus.
    """
    name = primary_key.name
    with taken_apart(items_path(query.collection)):
        # A singleton is an object, and has no key before it is saved.
        rows = [answer] if isinstance(answer, dict) else answer
        return [
            (primary_key.canonical(row[name]), row) for row in rows if row.get(name) is not None
        ]


async def _keys_in_order(
    rest: RestClient, query: Query, primary_key: PrimaryKey
) -> AsyncIterator[list[Key]]:
    size, name = await rest.capped(_KEYS_PAGE), primary_key.name
    asked = {**_condition(query, name), "fields": [name], "sort": [name], "limit": size}
    own = [asked["filter"]] if "filter" in asked else []
    last: int | None = None
    while True:
        if last is not None:
            after = {name: {"_gt": primary_key.wire(last)}}
            asked["filter"] = {"_and": [after, *own]}
        answer = await rest.search(items_path(query.collection), asked)
        keys = [key for key, _ in _keyed(answer, primary_key, query)]
        numbers = [key for key in keys if isinstance(key, int) and (last is None or key > last)]
        if numbers:
            yield list(dict.fromkeys(numbers))
        if len(answer) < size or isinstance(answer, dict) or not numbers:
            return
        last = max(numbers)


async def _numbered_key_pages(
    rest: RestClient, query: Query, primary_key: PrimaryKey
) -> AsyncIterator[list[Key]]:
    size, name = await rest.query_limit(), primary_key.name
    asked = {**_condition(query, name), "fields": [name], "sort": [name], "limit": size}
    for number in itertools.count(1):
        page = {"page": number} if size > 0 else {}
        answer = await rest.search(items_path(query.collection), {**asked, **page})
        yield [key for key, _ in _keyed(answer, primary_key, query)]
        if size < 0 or len(answer) < size or isinstance(answer, dict):
            return


def _condition(query: Query, primary_key: str) -> dict[str, Any]:
    """Return the part of a query that says which items match."""
    asked = query.rest_parameters(primary_key)
    return {name: asked[name] for name in ("filter", "search") if name in asked}


def _length(key: Key) -> int:
    return len(json.dumps(key)) + 2
