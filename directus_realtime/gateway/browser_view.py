"""What one browser sees of an offer."""

from __future__ import annotations

import enum
import json
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

from directus_realtime.events import Action, Key
from directus_realtime.gateway.conditions import Condition, compile_filter
from directus_realtime.gateway.fields import FieldTree, field_tree, ordered
from directus_realtime.protocol.queries import Filter

Row = Mapping[str, Any]


class _Unknown(enum.Enum):
    UNKNOWN = "unknown"


#: The last state of an item that nobody remembers.
UNKNOWN: Final = _Unknown.UNKNOWN
Previous = Row | None | Literal[_Unknown.UNKNOWN]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a browser is told of a change.

    Attributes:
        action: The change, as the browser sees it.
        data: The item's shown fields; for a delete, its key.
    """

    action: Action
    data: dict[str, Any] | Key


@dataclass(frozen=True)
class BrowserView:
    """What one browser may see, and wants to see, of an offer.

    Attributes:
        offer_name: Of the offer.
        fingerprint: Of the offer.
        actions: The changes it is told of.
        fields: The shown fields, as in a query; no more than offered.
        filter: The items, of those that are offered.
        is_restricted: Whether the filter keeps items from the browser, other than those that
            the browser itself does not want.
        item: The key of the only item; ``None`` for all.
        sort: The order of the first load.
        limit: Items of the first load.
    """

    offer_name: str
    fingerprint: str
    actions: tuple[Action, ...]
    fields: tuple[str, ...]
    filter: Filter = field(default_factory=dict, hash=False)
    is_restricted: bool = False
    item: Key | None = None
    sort: tuple[str, ...] = ()
    limit: int = 0

    @cached_property
    def key(self) -> Hashable:
        """Equal for views that see the same of each event; their first loads may differ."""
        return (
            self.offer_name,
            self.fingerprint,
            self.actions,
            frozenset(self.fields),
            json.dumps(self.filter, sort_keys=True),
            self.is_restricted,
            None if self.item is None else str(self.item),
        )

    def see(self, action: Action, key: Key, row: Row | None, previous: Previous) -> Seen | None:
        """What the browser is told of a change.

        Args:
            action: Of the event; ``delete`` also for an update by which the item left the
                filter of the offer.
            key: Of the item.
            row: The item, with all fields of the offer; ``None`` for a delete.
            previous: The item as it was last seen; ``None`` where it was not part of the offer,
                :data:`UNKNOWN` where nobody remembers.

        Returns:
            ``None`` for nothing. An item that the browser saw, and may not see any longer, is
            told as a delete of its key.
        """
        if self.item is not None and str(self.item) != str(key):
            return None
        if action == "delete" or row is None:
            return self._see_gone(key, previous, is_sure=action == "delete")
        if not self._condition.matches(row):
            return self._see_gone(key, previous, is_sure=False)
        return Seen(action, self._tree.project(row)) if action in self.actions else None

    def _see_gone(self, key: Key, previous: Previous, *, is_sure: bool) -> Seen | None:
        if "delete" not in self.actions:
            return None
        if not self.filter and not self.is_restricted:
            was_seen = is_sure
        elif previous is UNKNOWN:
            # As Directus does: who filters by itself learns of deletes that do not concern it.
            was_seen = is_sure and not self.is_restricted
        else:
            was_seen = previous is not None and self._condition.matches(previous)
        return Seen("delete", key) if was_seen else None

    def select(self, rows: Iterable[Row], primary_key: str = "id") -> list[dict[str, Any]]:
        """The browser's part of a first load.

        Args:
            rows: Items with all fields of the offer, the newest first.
            primary_key: Name of the field with their keys.
        """
        found = [row for row in rows if self._condition.matches(row)]
        if self.item is not None:
            found = [row for row in found if str(row.get(primary_key)) == str(self.item)]
        return [self._tree.project(row) for row in ordered(found, self.sort)[: self.limit]]

    @cached_property
    def _condition(self) -> Condition:
        return compile_filter(self.filter)

    @cached_property
    def _tree(self) -> FieldTree:
        return field_tree(self.fields)
