"""Compare what a site has stored with the Directus that it follows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

from directus_realtime.client.rest import items_path
from example_project.real_directus import DirectusAdmin
from tests.helpers.site import Site
from tests.helpers.waiting import wait_for

#: Seconds; a list of 600 takes Directus some of them.
DEADLINE = 90.0
_CHANGES = {"create", "update", "delete"}


@dataclass
class Truth:
    """What Directus has of one subscription's collection, to compare a site's events with.

    Attributes:
        site: The site.
        admin: REST access to Directus, with all rights.
        name: The subscription, without a filter.
        canonical: Makes one form of all spellings of a key.
        page: Rows of a request, where the server has a ``QUERY_LIMIT_MAX``; -1 for all.
    """

    site: Site
    admin: DirectusAdmin
    name: str = "all"
    canonical: Callable[[Any], str] = str
    page: int = -1

    def settle(self, timeout: float = DEADLINE) -> None:
        """Wait until the site agrees with Directus and has delivered everything.

        Raises:
            AssertionError: It does not; the message names each difference.
        """
        found: list[str] = []

        def agrees() -> bool:
            found[:] = self.differences()
            return not found

        try:
            wait_for(agrees, timeout)
        except AssertionError:
            output = self.site.listeners[-1].output
            raise AssertionError("\n".join([*found[:40], output])) from None
        wait_for(lambda: not self.site.inbox.exclude(state="done").exists(), what="delivery")

    def differences(self) -> list[str]:
        """Return what is wrong, as sentences."""
        return [*self._wrong_rows(), *self._wrong_states()]

    def _wrong_rows(self) -> list[str]:
        """Rows of the log without exactly one event, unless a later delete makes them void."""
        stored = Counter(e["activity_id"] for e in self.events() if e["activity_id"] is not None)
        rows = self.rows()
        last_delete = {
            self.canonical(row["item"]): row["id"] for row in rows if row["action"] == "delete"
        }
        found = []
        for row in rows:
            made = stored.pop(row["id"], 0)
            is_void = row["id"] < last_delete.get(self.canonical(row["item"]), 0)
            if made > 1 or (made == 0 and not is_void):
                found.append(f"{made} events of the row {row}")
        return found + [f"an event of the row {number}, which is no change" for number in stored]

    def _wrong_states(self) -> list[str]:
        """Items whose last event does not carry what they are."""
        items = self.items()
        found = []
        for key, event in self.last_events().items():
            item = items.get(key)
            said = None if event["action"] == "delete" else json.loads(event["data_json"])
            if said != item:
                found.append(f"the last event of {key} is {event}, and it is {item}")
        return found

    def events(self) -> list[dict[str, Any]]:
        """Return what is stored for the subscription, in its order."""
        rows = self.site.inbox.filter(subscription=self.name).order_by("id")
        return list(rows.values("activity_id", "action", "key_json", "data_json", "origin"))

    def last_events(self) -> dict[str, dict[str, Any]]:
        """Return the last event of each item, by canonical key."""
        return {self.canonical(json.loads(e["key_json"])): e for e in self.events()}

    def unlogged(self) -> list[dict[str, Any]]:
        """Return the events that no row of the log made."""
        return [event for event in self.events() if event["activity_id"] is None]

    def rows(self) -> list[dict[str, Any]]:
        """Return the changes in the log since the subscription began."""
        collection, after = self._collection, self.site.subscriptions.get(name=self.name)
        condition = {"id": {"_gt": after.followed_from}, "collection": {"_eq": collection}}
        fields = ["id", "action", "item"]
        found = self._read("/activity", {"filter": condition, "fields": fields})
        return [row for row in found if row["action"] in _CHANGES]

    def items(self) -> dict[str, dict[str, Any]]:
        """Return all items of the collection as they are now, by canonical key."""
        subscription = self.site.subscriptions.get(name=self.name)
        found = self._read(items_path(self._collection), {"fields": subscription.fields or ["*"]})
        return {self.canonical(item["id"]): item for item in found}

    def _read(self, path: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for page in count(1):
            asked = {**query, "sort": ["id"], "limit": self.page, "page": page}
            rows = self.admin.request("SEARCH", path, {"query": asked})
            found += rows
            if self.page < 0 or len(rows) < self.page:
                break
        return found

    @property
    def _collection(self) -> str:
        return str(self.site.subscriptions.get(name=self.name).collection)


def assert_nothing_doubted(site: Site) -> None:
    """Assert that no loss was announced or logged."""
    assert site.received("gap") == []
    for listener in site.listeners:
        assert "may be lost" not in listener.output
