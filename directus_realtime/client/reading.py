"""Items read over REST as a subscription sees them: by key, or all of them.

For the first load, all items that match a query while their changes come in live:
the keys are read first and the items by key, so that an item deleted or added meanwhile
moves no other across a page's edge. Directus has no comparison for keys that are text,
so pages go by number; several are read again until a pass finds nothing new.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from directus_realtime.client.responses import taken_apart
from directus_realtime.client.rest import PrimaryKey, RestClient, items_path
from directus_realtime.events import Key
from directus_realtime.protocol.queries import Query

#: Keys of one request.
_KEYS_PAGE = 10_000
#: Items of one request, at the most.
_ITEMS_PAGE = 100
#: Characters of the keys of one request: proxies refuse long URLs.
_URL_BUDGET = 4_000


@dataclass(frozen=True)
class Page:
    """Some items of a first load.

    Attributes:
        rows: The items, with their keys.
        done: How many keys were looked at by now.
        total: How many there are.
    """

    rows: list[tuple[Key, dict[str, Any]]]
    done: int
    total: int


@dataclass(frozen=True)
class CurrentItems:
    """Some items as they are now; one that is in neither is gone or may not be read.

    Attributes:
        matching: Those in the filter of the subscription, by key.
        others: Those that can be read but are not in the filter, by key; empty where there
            is no filter and no search.
    """

    matching: dict[Key, dict[str, Any]]
    others: dict[Key, dict[str, Any]]


@dataclass(frozen=True)
class Newest:
    """The newest items of a query.

    Attributes:
        rows: The items with their keys, the newest first.
        is_all: Whether there are no others.
        primary_key: Name of the field with the keys.
    """

    rows: list[tuple[Key, dict[str, Any]]]
    is_all: bool
    primary_key: str


async def read_newest(rest: RestClient, query: Query, limit: int) -> Newest:
    """Read the newest items of a query, at most ``limit`` of them."""
    primary_key, sort = await rest.newest_first(query.collection)
    parameters = {**query.rest_parameters(primary_key.name), "sort": sort}
    # One more tells whether there are others.
    rows = await rest.get(items_path(query.collection), {**parameters, "limit": limit + 1})
    keyed = _keyed(rows, primary_key, query, may_lack_keys=True)
    return Newest(keyed[:limit], len(keyed) <= limit, primary_key.name)


async def read_pages(
    rest: RestClient, query: Query, primary_key: PrimaryKey
) -> AsyncIterator[Page]:
    """Every item that matches, once.

    Args:
        rest: To read with.
        query: What the subscription asks for.
        primary_key: Of the collection.

    Raises:
        RequestRefused: Directus answered with an error.
        httpx.TransportError: Directus could not be reached.
    """
    keys = [key async for page in read_keys(rest, query, primary_key) for key in page]
    done = 0
    for chunk in _chunks(keys, _capped(rest, _ITEMS_PAGE)):
        rows = await _read_chunk(rest, query, primary_key, chunk)
        done += len(chunk)
        yield Page(rows, done, len(keys))


async def read_current(
    rest: RestClient, query: Query, primary_key: PrimaryKey, keys: Sequence[Key]
) -> CurrentItems:
    """The items with these keys as they are now, in the filter or not.

    Raises:
        RequestRefused: Directus answered with an error.
        httpx.TransportError: Directus could not be reached.
    """
    matching = await read_by_keys(rest, query, primary_key, keys)
    others: dict[Key, dict[str, Any]] = {}
    if query.has_condition and (outside := [key for key in keys if key not in matching]):
        others = await read_by_keys(rest, query.without_condition(), primary_key, outside)
    return CurrentItems(matching, others)


async def read_by_keys(
    rest: RestClient, query: Query, primary_key: PrimaryKey, keys: Sequence[Key]
) -> dict[Key, dict[str, Any]]:
    """The items with these keys that match, as they are now, in the order of the keys.

    Raises:
        RequestRefused: Directus answered with an error.
        httpx.TransportError: Directus could not be reached.
    """
    found: dict[Key, dict[str, Any]] = {}
    for chunk in _chunks(keys, _capped(rest, _ITEMS_PAGE)):
        rows = await _read_chunk(rest, query, primary_key, chunk)
        by_text = {str(key): row for key, row in rows}
        found.update((key, by_text[str(key)]) for key in chunk if str(key) in by_text)
    return found


async def read_keys(
    rest: RestClient, query: Query, primary_key: PrimaryKey
) -> AsyncIterator[list[Key]]:
    """The keys of every item that matches, each once.

    Raises:
        RequestRefused: Directus answered with an error.
        httpx.TransportError: Directus could not be reached.
    """
    seen: set[Key] = set()
    while True:
        before, pages = len(seen), 0
        async for page in _key_pages(rest, query, primary_key):
            new = [key for key in page if key not in seen]
            seen.update(new)
            pages += 1
            if new:
                yield new
        if pages <= 1 or len(seen) == before:
            return


async def _read_chunk(
    rest: RestClient, query: Query, primary_key: PrimaryKey, keys: list[Key]
) -> list[tuple[Key, dict[str, Any]]]:
    parameters = query.rest_parameters(primary_key.name)
    by_key = {primary_key.name: {"_in": keys}}
    own = [parameters["filter"]] if "filter" in parameters else []
    asked = {**parameters, "filter": {"_and": [by_key, *own]}, "limit": len(keys)}
    return _keyed(await rest.get(items_path(query.collection), asked), primary_key, query)


def _keyed(
    answer: Any, primary_key: PrimaryKey, query: Query, *, may_lack_keys: bool = False
) -> list[tuple[Key, dict[str, Any]]]:
    """The items of an answer, with their keys.

    Raises:
        RequestRefused: It is not one of Directus.
    """
    name = primary_key.name
    with taken_apart(items_path(query.collection)):
        if isinstance(answer, dict):  # a singleton; one that was never saved has no key
            answer = [answer] if answer.get(name, "") is not None else []
        return [
            (primary_key.cast(_key(row[name])), row)
            for row in answer
            if not may_lack_keys or name in row
        ]


def _key(value: Any) -> Key:
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise TypeError(f"{type(value).__name__} is not a key")
    return value


async def _key_pages(
    rest: RestClient, query: Query, primary_key: PrimaryKey
) -> AsyncIterator[list[Key]]:
    size = _capped(rest, _KEYS_PAGE)
    asked = {
        name: value
        for name, value in query.rest_parameters(primary_key.name).items()
        if name in {"filter", "search"}
    }
    name = primary_key.name
    for number in itertools.count(1):
        rows = await rest.get(
            items_path(query.collection),
            {**asked, "fields": [name], "sort": [name], "limit": size, "page": number},
        )
        keys = [key for key, _ in _keyed(rows, primary_key, query)]
        yield keys
        if len(keys) < size:
            return


def _capped(rest: RestClient, size: int) -> int:
    """A page size that ``QUERY_LIMIT_MAX`` allows."""
    limit = rest.info.query_limit if rest.info else -1
    return size if limit < 0 else min(size, limit)


def _chunks(keys: Sequence[Key], size: int) -> Iterator[list[Key]]:
    """Keys in runs that fit into one request."""
    chunk: list[Key] = []
    length = 0
    for key in keys:
        cost = len(quote(str(key), errors="replace")) + 12  # quotes and a comma, encoded
        if chunk and (len(chunk) == size or length + cost > _URL_BUDGET):
            yield chunk
            chunk, length = [], 0
        chunk.append(key)
        length += cost
    if chunk:
        yield chunk
