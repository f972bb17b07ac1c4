"""What the writers did, and the keys that they choose from."""

from __future__ import annotations

import json
import random
import threading
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """A request and what became of it.

    Attributes:
        outcome: ``confirmed``; ``unknown``, where the answer was lost or was an error of the
            server; ``refused``, mostly because another writer deleted the item.
        is_logged: Whether Directus writes it into its activity log.
    """

    at: float
    writer: int
    collection: str
    action: str
    keys: tuple[str, ...]
    outcome: str
    is_logged: bool = True


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

    def take(self, chance: random.Random, count: int, *, is_for_ever: bool = False) -> list[str]:
        """Some items to delete; they are not chosen again, but may be in use by others.

        Args:
            chance: Makes the choice.
            count: How many.
            is_for_ever: Whether they must not be made again.
        """
        with self._lock:
            count = min(count, len(self._keys))
            chosen = sorted(chance.sample(range(len(self._keys)), count), reverse=True)
            taken = [self._keys.pop(index) for index in chosen]
            if not is_for_ever:
                self._deleted += taken
            return taken

    def deleted(self, chance: random.Random) -> str | None:
        """An item that is gone, to make it again under its old key."""
        with self._lock:
            if not self._deleted:
                return None
            return self._deleted.pop(chance.randrange(len(self._deleted)))
