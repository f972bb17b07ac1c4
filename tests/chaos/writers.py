"""Eight connections that change items, and a ledger of what the server confirmed."""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.chaos.directus import ChaosDirectus

WRITERS = 8
#: Articles that all writers change at the same time, and nobody deletes.
HOT_ITEMS = 4
STATUSES = ("published", "published", "draft", "archived")
#: Rows of the largest batch.
BATCH = 20
#: Seconds; a request that Directus does not answer in time counts as lost.
TIMEOUT = 20.0


@dataclass(frozen=True)
class Entry:
    """A request and what became of it.

    Attributes:
        outcome: ``confirmed``; ``unknown``, where the answer was lost or was an error of the
            server; ``refused``, mostly because another writer deleted the item.
    """

    at: float
    writer: int
    collection: str
    action: str
    keys: tuple[str, ...]
    outcome: str


class Ledger:
    """What the writers did, in memory and in a file.

    Args:
        path: Of the file.
    """

    def __init__(self, path: Path) -> None:
        self.entries: list[Entry] = []
        self.changes = 0
        self._file = path.open("w")
        self._lock = threading.Lock()

    def add(self, entry: Entry) -> None:
        """Write down a request; each row of it that was confirmed is a change."""
        with self._lock:
            self.entries.append(entry)
            self._file.write(json.dumps(asdict(entry)) + "\n")
            if entry.outcome == "confirmed":
                self.changes += len(entry.keys)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Pool:
    """The keys of a collection that writers choose from."""

    def __init__(self) -> None:
        self.hot: list[str] = []
        self._keys: list[str] = []
        self._deleted: list[str] = []
        self._lock = threading.Lock()

    def add(self, keys: list[str]) -> None:
        """Items that were made."""
        with self._lock:
            self._keys += keys

    def some(self, chance: random.Random, count: int) -> list[str]:
        """Some items to change."""
        with self._lock:
            return chance.sample(self._keys, min(count, len(self._keys)))

    def take(self, chance: random.Random, count: int) -> list[str]:
        """Some items to delete; they are not chosen again, but may be in use by others."""
        with self._lock:
            count = min(count, len(self._keys))
            chosen = sorted(chance.sample(range(len(self._keys)), count), reverse=True)
            taken = [self._keys.pop(index) for index in chosen]
            self._deleted += taken
            return taken

    def deleted(self, chance: random.Random) -> str | None:
        """An item that is gone, to make it again under its old key."""
        with self._lock:
            if not self._deleted:
                return None
            return self._deleted.pop(chance.randrange(len(self._deleted)))


class Writers:
    """Makes changes until there are enough, in threads of its own.

    Args:
        directus: The server, addressed directly whatever becomes of the listener's network.
        changes: How many in all.
        seed: Of the choices; what the threads make of them differs from run to run.
        ledger: Takes what was done.
    """

    def __init__(self, directus: ChaosDirectus, changes: int, seed: int, ledger: Ledger) -> None:
        self.ledger = ledger
        self.failures: list[str] = []
        self._directus = directus
        self._changes = changes
        self._allowed = changes
        self._pools = {"articles": Pool(), "notes": Pool()}
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(number, seed), daemon=True)
            for number in range(WRITERS)
        ]

    def start(self) -> None:
        """Make the hot items, and start the threads."""
        with self._directus.server.admin() as admin:
            hot = admin.create_items("articles", [{"title": "hot", "status": "published"}] * 4)
        self._pools["articles"].hot = [str(item["id"]) for item in hot]
        for thread in self._threads:
            thread.start()

    def allow(self, changes: int) -> None:
        """Wait when so many changes are made, so that every fault has writers beside it."""
        self._allowed = changes

    @property
    def is_done(self) -> bool:
        """Whether all threads have ended."""
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """End the threads with the requests at hand."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(TIMEOUT + 10)
        self.ledger.close()

    def _write(self, number: int, seed: int) -> None:
        writer = Writer(number, random.Random(f"{seed} {number}"), self._directus, self)
        try:
            while not self._stopping.is_set() and self.ledger.changes < self._changes:
                if self.ledger.changes >= self._allowed:
                    time.sleep(0.02)
                else:
                    writer.make_change()
        except Exception as error:
            self.failures.append(f"writer {number} ended with {error!r}")
        finally:
            writer.close()

    def pool(self, collection: str) -> Pool:
        """The items of a collection."""
        return self._pools[collection]


class Writer:
    """One connection.

    Args:
        number: Of the writer.
        chance: Makes its choices.
        directus: The server.
        writers: Whose pools it shares.
    """

    def __init__(
        self, number: int, chance: random.Random, directus: ChaosDirectus, writers: Writers
    ) -> None:
        self._number = number
        self._chance = chance
        self._flows = directus.flows
        self._writers = writers
        self._titles = 0
        self._http = httpx.Client(
            base_url=directus.server.url,
            headers={"Authorization": f"Bearer {directus.server.admin_token}"},
            timeout=TIMEOUT,
            trust_env=False,
        )
        self._ways: dict[Callable[[str], None], int] = {
            self._create: 22,
            self._update: 26,
            self._update_hot: 8,
            self._delete: 8,
            self._create_many: 6,
            self._update_many: 6,
            self._delete_many: 3,
            self._create_and_delete: 3,
            self._recreate: 3,
            self._flow_create: 5,
            self._flow_update: 7,
            self._flow_delete: 3,
        }

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def make_change(self) -> None:
        """Make one request that changes something."""
        (way,) = self._chance.choices([*self._ways], [*self._ways.values()])
        way("articles" if self._chance.random() < 0.75 else "notes")

    # Ways to change something

    def _create(self, collection: str) -> None:
        body = self._item(collection)
        self._create_by("POST", f"/items/{collection}", body, collection)

    def _update(self, collection: str) -> None:
        for key in self._writers.pool(collection).some(self._chance, 1):
            path = f"/items/{collection}/{key}"
            self._request("PATCH", path, self._change(), collection, "update", [key])

    def _update_hot(self, collection: str) -> None:
        key = self._chance.choice(self._writers.pool("articles").hot)
        path = f"/items/articles/{key}"
        self._request("PATCH", path, self._change(), "articles", "update", [key])

    def _delete(self, collection: str) -> None:
        for key in self._writers.pool(collection).take(self._chance, 1):
            path = f"/items/{collection}/{key}"
            self._request("DELETE", path, None, collection, "delete", [key])

    def _create_many(self, collection: str) -> None:
        body = [self._item(collection) for _ in range(self._size())]
        self._create_by("POST", f"/items/{collection}", body, collection)

    def _update_many(self, collection: str) -> None:
        if keys := self._writers.pool(collection).some(self._chance, self._size()):
            body = {"keys": _wire(collection, keys), "data": self._change()}
            self._request("PATCH", f"/items/{collection}", body, collection, "update", keys)

    def _delete_many(self, collection: str) -> None:
        if keys := self._writers.pool(collection).take(self._chance, self._size() // 2):
            body = _wire(collection, keys)
            self._request("DELETE", f"/items/{collection}", body, collection, "delete", keys)

    def _create_and_delete(self, collection: str) -> None:
        """A delete right behind a create, whose event the server sends late (T5)."""
        body = [self._item(collection) for _ in range(self._size())]
        keys = self._create_by("POST", f"/items/{collection}", body, collection, keep=False)
        self._writers.pool(collection).add(keys[3:])
        if keys[:3]:
            body = _wire(collection, keys[:3])
            self._request("DELETE", f"/items/{collection}", body, collection, "delete", keys[:3])

    def _recreate(self, collection: str) -> None:
        key = self._writers.pool("notes").deleted(self._chance)
        if key is not None:
            body = {**self._item("notes"), "id": key}
            self._create_by("POST", "/items/notes", body, "notes")

    def _flow_create(self, collection: str) -> None:
        payload = [self._item(collection) for _ in range(self._chance.choice([1, 1, 4]))]
        body = {"collection": collection, "payload": payload}
        self._create_by("POST", self._flow("create"), body, collection)

    def _flow_update(self, collection: str) -> None:
        pool = self._writers.pool(collection)
        if keys := pool.some(self._chance, self._chance.choice([1, 1, 4])):
            body = {
                "collection": collection,
                "keys": _wire(collection, keys),
                "payload": self._change(),
            }
            self._request("POST", self._flow("update"), body, collection, "update", keys)

    def _flow_delete(self, collection: str) -> None:
        if keys := self._writers.pool(collection).take(self._chance, 1):
            body = {"collection": collection, "keys": _wire(collection, keys)}
            self._request("POST", self._flow("delete"), body, collection, "delete", keys)

    # What they share

    def _size(self) -> int:
        return self._chance.randint(2, BATCH)

    def _flow(self, operation: str) -> str:
        return self._flows[operation, self._chance.random() < 0.4]

    def _change(self) -> dict[str, Any]:
        self._titles += 1
        change = {"title": f"{self._number}-{self._titles}"}
        if self._chance.random() < 0.6:
            change["status"] = self._chance.choice(STATUSES)
        return change

    def _item(self, collection: str) -> dict[str, Any]:
        item = {**self._change(), "status": self._chance.choice(STATUSES)}
        # With a key of ours an answer that got lost can be found again.
        return item if collection == "articles" else {**item, "id": self._uuid()}

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))

    def _create_by(
        self, method: str, path: str, body: Any, collection: str, *, keep: bool = True
    ) -> list[str]:
        """Create items and say which keys they got."""
        answer = self._request(method, path, body, collection, "create", [])
        keys = _keys(answer)
        if keys and keep:
            self._writers.pool(collection).add(keys)
        return keys

    def _request(
        self,
        method: str,
        path: str,
        body: Any,
        collection: str,
        action: str,
        keys: list[str],
    ) -> httpx.Response | None:
        answer: httpx.Response | None = None
        try:
            answer = self._http.request(method, path, json=body)
            outcome = _outcome(answer, path)
        except httpx.TransportError:
            outcome = "unknown"
        if answer is not None and action == "create":
            keys = _keys(answer)
        at = time.time()
        entry = Entry(at, self._number, collection, action, tuple(keys), outcome)
        self._writers.ledger.add(entry)
        if answer is None or answer.is_server_error:
            time.sleep(self._chance.uniform(0.1, 0.5))  # the server is down; do not hammer it
        return answer


def _wire(collection: str, keys: list[str]) -> list[int | str]:
    return [int(key) for key in keys] if collection == "articles" else [*keys]


def _outcome(answer: httpx.Response, path: str) -> str:
    if answer.is_success:
        # A flow whose operation failed is answered like any other, with nothing in it.
        return "confirmed" if "/flows/" not in path or _keys(answer) else "unknown"
    return "unknown" if answer.is_server_error else "refused"


def _keys(answer: httpx.Response | None) -> list[str]:
    """The keys of what was created: of an item, of several, or what a flow gave back."""
    if answer is None or not answer.is_success:
        return []
    found = answer.json() if answer.content else None
    if isinstance(found, dict):
        found = found.get("data")
    if not isinstance(found, list):
        found = [found]
    keys = [each.get("id") if isinstance(each, dict) else each for each in found]
    return [str(key) for key in keys if key is not None]
