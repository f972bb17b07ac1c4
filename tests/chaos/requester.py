"""One connection of a writer: requests, and what the ledger says of them."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import httpx

from tests.chaos.directus import ChaosDirectus
from tests.chaos.ledger import Entry, Ledger

#: Seconds; a request that Directus does not answer in time counts as lost.
TIMEOUT = 20.0


class Requester:
    """Sends requests and writes each into the ledger.

    Args:
        number: Of the writer.
        chance: Makes its choices.
        directus: The server, addressed directly.
        ledger: Takes what was done.
    """

    def __init__(
        self, number: int, chance: random.Random, directus: ChaosDirectus, ledger: Ledger
    ) -> None:
        self._number = number
        self._chance = chance
        self._ledger = ledger
        self._http = httpx.Client(
            base_url=directus.server.url,
            headers={
                "Authorization": f"Bearer {directus.server.admin_token}",
                # The rate limiter counts by address: the writers must not use up the listener's.
                "X-Forwarded-For": f"10.0.0.{number + 1}",
            },
            timeout=TIMEOUT,
            trust_env=False,
        )

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        collection: str,
        action: str,
        keys: Sequence[str] = (),
        *,
        is_logged: bool = True,
        **content: Any,
    ) -> list[str]:
        """Send a request, write down what became of it, and return the keys in its answer.

        Args:
            method: The HTTP method.
            path: The path.
            collection: The collection that it changes.
            action: ``create``, ``update`` or ``delete``; of a create, the keys are in the answer.
            keys: The items that it changes.
            is_logged: Whether Directus writes it into its activity log.
            content: What httpx takes: ``json``, ``files``, ``data``.
        """
        answer: httpx.Response | None = None
        try:
            answer = self._http.request(method, path, **content)
            outcome = _outcome(answer, path)
        except httpx.TransportError:
            outcome = "unknown"
        found = _keys(answer)
        changed = tuple(found if action == "create" and not keys else keys)
        at = time.time()
        entry = Entry(at, self._number, collection, action, changed, outcome, is_logged)
        self._ledger.add(entry)
        if answer is None or answer.is_server_error or answer.status_code == 429:
            time.sleep(self._chance.uniform(0.1, 0.5))  # the server is down; do not hammer it
        return found


def _outcome(answer: httpx.Response, path: str) -> str:
    if answer.is_success:
        # A flow whose operation failed is answered like any other, with nothing in it; GraphQL
        # answers its errors with 200.
        if "/graphql" in path:
            return "refused" if "errors" in answer.json() else "confirmed"
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
