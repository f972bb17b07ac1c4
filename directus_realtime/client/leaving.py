"""Which changed items may have left a filter: those of which only their change is told.

Directus says nothing of an item that leaves the filter of a subscription. So a second one,
without the filter, tells the keys of all changed items. It is asked for last, and Directus
goes through the subscriptions in that order, so the message with the filter comes first.
"""

from __future__ import annotations

from directus_realtime.events import Key


class Leaving:
    """Changes of an item less its messages with the filter, in windows of time.

    Each change of an item in the filter brings one of both. Where there are more changes
    the item is suspected to have left; a read of it tells.

    Attributes:
        suspects: Items to be read, in the order they were told of.
    """

    def __init__(self) -> None:
        self.suspects: dict[Key, None] = {}
        self._balance: dict[Key, int] = {}
        self._ahead: set[Key] = set()

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to wait for and nothing to read."""
        return not self._balance and not self.suspects

    def changed(self, key: Key) -> None:
        """An item changed, in the filter or not."""
        self._add(key, 1)

    def reported(self, key: Key) -> None:
        """An item changed and was in the filter."""
        self._add(key, -1)

    def deleted(self, key: Key) -> None:
        """An item is gone for good; it leaves nothing."""
        self.suspects.pop(key, None)
        self._balance.pop(key, None)

    def end_window(self) -> None:
        """Suspect what only its change was told of.

        Of a message with the filter the other half may still be on its way, for one more
        window; it does not come where the item was deleted meanwhile.
        """
        self._suspect()
        self._balance = {
            key: count
            for key, count in self._balance.items()
            if count < 0 and key not in self._ahead
        }
        self._ahead = set(self._balance)

    def gap(self) -> None:
        """The other half of what was told does not come any more."""
        self._suspect()
        self._balance.clear()
        self._ahead.clear()

    def _suspect(self) -> None:
        self.suspects |= {key: None for key, count in self._balance.items() if count > 0}

    def _add(self, key: Key, count: int) -> None:
        count += self._balance.pop(key, 0)
        if count:
            self._balance[key] = count
