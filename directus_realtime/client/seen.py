"""Which items a subscription has seen in its filter: what else can leave it?"""

from __future__ import annotations

from directus_realtime.events import Action, Key


class SeenItems:
    """The keys of the items in the filter, as far as a subscription was told of them.

    Directus sends the deletes of every item and, asked without the filter, the updates of
    every item; this says which of them concern an item that was in the filter.

    Args:
        is_filtered: Whether there is a filter at all. Where there is none nothing can leave
            it, and keys are kept from the beginning of a load only.
    """

    def __init__(self, *, is_filtered: bool) -> None:
        self._keys: set[Key] = set()
        self._is_kept = is_filtered
        self._is_loading = False
        self._is_complete = False

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def load_begins(self) -> None:
        """All items in the filter are about to be told."""
        self._is_kept = self._is_loading = True

    def load_ends(self) -> None:
        """All items in the filter were told; what is not known now was never in it."""
        self._is_complete |= self._is_loading
        self._is_loading = False

    def gap(self) -> None:
        """Changes may be missed from now on, so that items may be in the filter unseen."""
        self._is_loading = self._is_complete = False

    def takes(self, action: Action, key: Key) -> bool:
        """Take note of a change, and say whether it concerns an item of the filter."""
        if action == "delete":
            return self.removes(key) or not self._is_complete
        if self._is_kept:
            self._keys.add(key)
        return True

    def removes(self, key: Key) -> bool:
        """Take note that an item is no longer in the filter, and say whether it was seen in it."""
        if key not in self._keys:
            return False
        self._keys.remove(key)
        return True
