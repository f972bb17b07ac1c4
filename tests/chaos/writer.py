"""A writer: all the ways in which items of Directus are changed, chosen at random."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from tests.chaos.directus import COLLECTIONS, FILES, UNLOGGED, ChaosDirectus
from tests.chaos.ledger import Ledger, Pool
from tests.chaos.requester import TIMEOUT, Requester

__all__ = ["ODD_LABELS", "TIMEOUT", "Writer"]

STATUSES = ("published", "published", "draft", "archived")
#: Rows of the largest batch.
BATCH = 20
#: Text keys that the query language of Directus, JSON or an address could take for others.
ODD_LABELS = ("$NOW", "$CURRENT_USER", "true", "null", "007", "1e3", "a/b c?d", "Ünï", "[1]", "{}")
#: An ``integer`` column and JavaScript's numbers end before it.
BIG = 2**53
#: Longer than the column: the database refuses it, in the middle of a list.
TOO_LONG = "x" * 300


class Writer:
    """One connection that changes items.

    Args:
        number: Of the writer.
        chance: Makes its choices.
        directus: The server.
        ledger: Takes what was done.
        pools: The keys of each collection, shared with the other writers.
    """

    def __init__(
        self,
        number: int,
        chance: random.Random,
        directus: ChaosDirectus,
        ledger: Ledger,
        pools: Mapping[str, Pool],
    ) -> None:
        self._number = number
        self._chance = chance
        self._flows = directus.flows
        self._is_on_sqlite = directus.is_on_sqlite
        self._pools = pools
        self._titles = 0
        self._requester = Requester(number, chance, directus, ledger)
        self.close = self._requester.close
        self._request = self._requester.request
        self._ways: dict[Callable[[str], None], int] = {
            self._create: 20,
            self._update: 20,
            self._update_oddly: 8,
            self._update_hot: 8,
            self._delete: 8,
            self._create_many: 6,
            self._update_many: 5,
            self._update_list: 6,
            self._update_by_graphql: 3,
            self._delete_many: 3,
            self._create_and_delete: 3,
            self._recreate: 3,
            self._flow_create: 4,
            self._flow_update: 5,
            self._flow_delete: 3,
            self._upload: 3,
            self._replace_file: 2,
            self._delete_file: 1,
            self._sort: 2,
            self._create_unlogged: 1,
            self._update_unlogged: 2,
            self._delete_unlogged: 1,
        }
        if not self._is_on_sqlite:  # an import hangs there, and it does not roll back early events
            self._ways |= {self._import: 3, self._fail_in_a_list: 2}

    def make_change(self) -> None:
        """Make one request that changes something."""
        (way,) = self._chance.choices([*self._ways], [*self._ways.values()])
        (collection,) = self._chance.choices([*COLLECTIONS], [6, 2, 1, 2])
        way(collection)

    # Ordinary requests

    def _create(self, collection: str) -> None:
        self._create_by(f"/items/{collection}", self._item(collection), collection)

    def _update(self, collection: str) -> None:
        for key in self._pools[collection].some(self._chance, 1):
            self._patch(collection, key, key)

    def _update_oddly(self, collection: str) -> None:
        """An update that spells the key otherwise; the log repeats it as it was written."""
        for key in self._pools[collection].some(self._chance, 1):
            self._patch(collection, key, self._spelled(collection, key))

    def _update_hot(self, collection: str) -> None:
        key = self._chance.choice(self._pools["articles"].hot)
        self._patch("articles", key, key)

    def _patch(self, collection: str, key: str, written: str) -> None:
        path = f"/items/{collection}/{quote(written, safe='')}"
        self._request("PATCH", path, collection, "update", [key], json=self._change())

    def _delete(self, collection: str) -> None:
        for key in self._pools[collection].take(self._chance, 1):
            path = f"/items/{collection}/{quote(key, safe='')}"
            self._request("DELETE", path, collection, "delete", [key])

    def _create_many(self, collection: str) -> None:
        body = [self._item(collection) for _ in range(self._size())]
        self._create_by(f"/items/{collection}", body, collection)

    def _update_many(self, collection: str) -> None:
        if keys := self._some(collection):
            body = {"keys": _wire(collection, keys), "data": self._change()}
            self._request("PATCH", f"/items/{collection}", collection, "update", keys, json=body)

    def _delete_many(self, collection: str) -> None:
        if keys := self._pools[collection].take(self._chance, self._size() // 2):
            body = _wire(collection, keys)
            self._request("DELETE", f"/items/{collection}", collection, "delete", keys, json=body)

    def _create_and_delete(self, collection: str) -> None:
        """A delete right behind a create, whose event the server sends late (T5)."""
        body = [self._item(collection) for _ in range(self._size())]
        path = f"/items/{collection}"
        keys = self._request("POST", path, collection, "create", json=body)
        self._pools[collection].add(keys[3:])
        if keys[:3]:
            body = _wire(collection, keys[:3])
            self._request("DELETE", path, collection, "delete", keys[:3], json=body)

    def _recreate(self, collection: str) -> None:
        key = self._pools["notes"].deleted(self._chance)
        if key is not None:
            self._create_by("/items/notes", {**self._item("notes"), "id": key}, "notes")

    # Requests whose events come before their commit

    def _update_list(self, collection: str) -> None:
        if keys := self._some(collection):
            body = self._changes(collection, keys)
            self._request("PATCH", f"/items/{collection}", collection, "update", keys, json=body)

    def _fail_in_a_list(self, collection: str) -> None:
        """Refused as a whole, with events of its first objects; ids of the log are used up."""
        keys = self._some(collection)
        if len(keys) > 1:
            body = self._changes(collection, keys)
            body[-1]["title"] = TOO_LONG
            self._request("PATCH", f"/items/{collection}", collection, "update", keys, json=body)

    def _update_by_graphql(self, collection: str) -> None:
        if keys := self._some(collection):
            query = (
                f"mutation ($data: [update_{collection}_input!]!) "
                f"{{ update_{collection}_batch(data: $data) {{ id }} }}"
            )
            data = [{**each, "id": str(each["id"])} for each in self._changes(collection, keys)]
            body = {"query": query, "variables": {"data": data}}
            self._request("POST", "/graphql", collection, "update", keys, json=body)

    def _import(self, collection: str) -> None:
        """New notes, or changes of the hot articles, in a file.

        Others could be deleted meanwhile, and an import would make them again.
        """
        if collection == "notes":
            made = [self._item("notes") for _ in range(self._size())]
            keys, action = [each["id"] for each in made], "create"
        else:
            collection, action = "articles", "update"
            keys = self._pools["articles"].hot
            made = self._changes("articles", keys)
        file = ("import.json", json.dumps(made).encode(), "application/json")
        path = f"/utils/import/{collection}"
        self._request("POST", path, collection, action, keys, files={"file": file})
        if action == "create":
            self._pools["notes"].add(keys)

    # Flows

    def _flow_create(self, collection: str) -> None:
        payload = [self._item(collection) for _ in range(self._chance.choice([1, 1, 4]))]
        body = {"collection": collection, "payload": payload}
        self._create_by(self._flow("create"), body, collection)

    def _flow_update(self, collection: str) -> None:
        if keys := self._pools[collection].some(self._chance, self._chance.choice([1, 1, 4])):
            wire = _wire(collection, keys)
            body = {"collection": collection, "keys": wire, "payload": self._change()}
            self._request("POST", self._flow("update"), collection, "update", keys, json=body)

    def _flow_delete(self, collection: str) -> None:
        if keys := self._pools[collection].take(self._chance, 1):
            body = {"collection": collection, "keys": _wire(collection, keys)}
            self._request("POST", self._flow("delete"), collection, "delete", keys, json=body)

    # Files: the second half of an upload is not logged

    def _upload(self, collection: str) -> None:
        keys = self._request("POST", "/files", FILES, "create", files=self._file())
        self._pools[FILES].add(keys)

    def _replace_file(self, collection: str) -> None:
        for key in self._pools[FILES].some(self._chance, 1):
            self._request("PATCH", f"/files/{key}", FILES, "update", [key], files=self._file())

    def _delete_file(self, collection: str) -> None:
        for key in self._pools[FILES].take(self._chance, 1):
            self._request("DELETE", f"/files/{key}", FILES, "delete", [key])

    def _file(self) -> dict[str, Any]:
        self._titles += 1
        content = b"x" * self._chance.randint(1, 5000)
        return {"file": (f"{self._number}-{self._titles}.txt", content, "text/plain")}

    # Changes that are not in the log

    def _sort(self, collection: str) -> None:
        keys = self._pools[collection].some(self._chance, 2)
        if len(keys) == 2:
            item, to = _wire(collection, keys)
            path = f"/utils/sort/{collection}"
            body = {"item": item, "to": to}
            self._request("POST", path, collection, "sort", is_logged=False, json=body)

    def _create_unlogged(self, collection: str) -> None:
        payload = {**self._item(collection), "title": self._unlogged_title()}
        keys = self._write_unlogged(collection, "create", [], payload=[payload])
        self._pools[collection].add(keys)

    def _update_unlogged(self, collection: str) -> None:
        if keys := self._pools[collection].some(self._chance, 2):
            payload = {**self._change(), "title": self._unlogged_title()}
            self._write_unlogged(collection, "update", keys, payload=payload)

    def _delete_unlogged(self, collection: str) -> None:
        if keys := self._pools[collection].take(self._chance, 1, is_for_ever=True):
            self._write_unlogged(collection, "delete", keys)

    def _write_unlogged(
        self, collection: str, action: str, keys: list[str], **more: Any
    ) -> list[str]:
        write = {"collection": collection, "action": action, "keys": _wire(collection, keys)}
        body = {**write, **more, "logged": False}
        return self._request(
            "POST", "/writes", collection, action, keys, is_logged=False, json=body
        )

    def _unlogged_title(self) -> str:
        self._titles += 1
        return f"{UNLOGGED}{self._number}-{self._titles}"

    # What they share

    def _size(self) -> int:
        return self._chance.randint(2, BATCH)

    def _some(self, collection: str) -> list[str]:
        return self._pools[collection].some(self._chance, self._size())

    def _flow(self, operation: str) -> str:
        return self._flows[operation, self._chance.random() < 0.4]

    def _change(self) -> dict[str, Any]:
        self._titles += 1
        change = {"title": f"{self._number}-{self._titles}"}
        if self._chance.random() < 0.6:
            change["status"] = self._chance.choice(STATUSES)
        return change

    def _changes(self, collection: str, keys: list[str]) -> list[dict[str, Any]]:
        """An object for each key, as a list of changes has them."""
        wire = _wire(collection, keys)
        return [{"id": key, **self._change()} for key in wire]

    def _item(self, collection: str) -> dict[str, Any]:
        item = {**self._change(), "status": self._chance.choice(STATUSES)}
        if collection == "notes":  # with a key of ours an answer that got lost can be found again
            return {**item, "id": self._uuid()}
        if collection == "labels":
            odd = self._chance.choice(["$NOW(-1 day)", "", "null", "Ä", "0x"])
            return {**item, "id": f"{odd}{self._number}-{self._titles}"}
        if collection == "orders" and not self._is_on_sqlite and self._chance.random() < 0.3:
            return {**item, "id": str(BIG + self._chance.getrandbits(60))}
        return item

    def _spelled(self, collection: str, key: str) -> str:
        """Another spelling of a key that the database takes for the same."""
        kind = COLLECTIONS[collection]
        if kind in ("integer", "bigInteger"):
            return f"00{key}"
        # SQLite compares UUIDs as text.
        return key.upper() if kind == "uuid" and not self._is_on_sqlite else key

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))

    def _create_by(self, path: str, body: Any, collection: str) -> None:
        """Create items and remember which keys they got."""
        keys = self._request("POST", path, collection, "create", json=body)
        self._pools[collection].add(keys)


def _wire(collection: str, keys: list[str]) -> list[int | str]:
    """Keys as they travel in JSON: numbers, unless JavaScript cannot hold them exactly."""
    if COLLECTIONS[collection] not in ("integer", "bigInteger"):
        return [*keys]
    return [int(key) if int(key) < BIG else key for key in keys]
