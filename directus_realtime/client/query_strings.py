"""Directus's query in a URL, and keys there, for servers that are not reached by SEARCH."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from directus_realtime.events import Key

#: Characters of the keys of one URL: proxies refuse long ones.
_KEYS_BUDGET = 4_000
#: Keys of one URL.
_KEYS = 100
_INTERPRETED = frozenset({"true", "false", "null", "NULL"})
_VARIABLES = ("$NOW", "$CURRENT_")


def encoded(query: Mapping[str, Any]) -> dict[str, str]:
    """Return a query as the parameters of a URL.

    Lists are joined by commas, objects become JSON, and ``aggregate={"count": "*"}`` becomes
    ``aggregate[count]=*``.
    """
    found = {name: _text(value) for name, value in query.items() if name != "aggregate"}
    aggregate = query.get("aggregate") or {}
    if isinstance(aggregate, Mapping):
        return found | {f"aggregate[{name}]": _text(value) for name, value in aggregate.items()}
    return found | {"aggregate": _text(aggregate)}


def with_fresh_cache_key(query: Mapping[str, Any]) -> dict[str, Any]:
    """Return a query with the same meaning that no cache has answered before.

    Directus's cache is looked up by the query after unknown parameters were dropped. A
    ``deep`` for a field that is not asked for stays in, and changes nothing.
    """
    deep = query.get("deep") or {}
    if isinstance(deep, str):
        deep = json.loads(deep)
    return {**query, "deep": {**deep, f"fresh_{secrets.token_hex(8)}": {"_limit": 1}}}


def is_interpreted(key: Key) -> bool:
    """Return whether a filter of Directus takes a key for something else than its text."""
    return isinstance(key, str) and (key in _INTERPRETED or key.startswith(_VARIABLES))


def filtered_by_keys(
    query: Mapping[str, Any], key_field: str, keys: Sequence[Key]
) -> dict[str, Any]:
    """Return a query with the condition that the key is one of these."""
    own = [query["filter"]] if query.get("filter") else []
    return {**query, "filter": {"_and": [{key_field: {"_in": list(keys)}}, *own]}}


def key_batches(keys: Sequence[Key]) -> Iterator[list[Key]]:
    """Yield keys in batches that fit into a URL each."""
    batch: list[Key] = []
    length = 0
    for key in keys:
        cost = len(quote(str(key), errors="replace")) + 12  # quotes and a comma, encoded
        if batch and (len(batch) == _KEYS or length + cost > _KEYS_BUDGET):
            yield batch
            batch, length = [], 0
        batch.append(key)
        length += cost
    if batch:
        yield batch


def _text(value: Any) -> str:
    if isinstance(value, dict | bool):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return ",".join(str(entry) for entry in value)
    return str(value)
