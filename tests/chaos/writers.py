"""Eight connections that change items at the same time."""

from __future__ import annotations

import random
import threading
import time

from tests.chaos.directus import COLLECTIONS, FILES, ChaosDirectus
from tests.chaos.ledger import Ledger, Pool
from tests.chaos.writer import ODD_LABELS, TIMEOUT, Writer

WRITERS = 8
#: Articles that all writers change at the same time, and nobody deletes.
HOT_ITEMS = 4


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
        self._pools = {name: Pool() for name in [*COLLECTIONS, FILES]}
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(number, seed), daemon=True)
            for number in range(WRITERS)
        ]

    def start(self) -> None:
        """Make the hot items, and start the threads."""
        with self._directus.server.admin() as admin:
            item = {"title": "hot", "status": "published"}
            hot = admin.create_items("articles", [item] * HOT_ITEMS)
            labels = [{**item, "id": label} for label in ODD_LABELS]
            admin.create_items("labels", labels)
        self._pools["articles"].hot = [str(item["id"]) for item in hot]
        self._pools["labels"].add([*ODD_LABELS])
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
        chance = random.Random(f"{seed} {number}")
        writer = Writer(number, chance, self._directus, self.ledger, self._pools)
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
