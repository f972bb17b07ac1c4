"""Tells browsers how the connections to Directus stand, so that a page can say "live"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from time import monotonic
from typing import TYPE_CHECKING

from directus_realtime.gateway import frames
from directus_realtime.gateway.frames import Frame
from directus_realtime.models import ConnectionStatus

if TYPE_CHECKING:
    from directus_realtime.gateway.browser_connections import BrowserConnection

#: Seconds for which a group message counts more than the table.
_AHEAD = 3.0

# The true reason names addresses, and is for those who run the site.
_REASONS = {
    "connected": "",
    "reconnecting": "Directus cannot be reached at the moment.",
    "disconnected": "Nobody listens to Directus at the moment.",
}


class StateBroadcast:
    """What is known of the connections, and has been told.

    Args:
        members: All browsers.
    """

    def __init__(self, members: Iterable[BrowserConnection]) -> None:
        self._members = members
        self._states: dict[str, str] = {}
        self._heard_at: dict[str, float] = {}

    def tell(self, member: BrowserConnection, alias: str) -> None:
        """Tell a browser of a connection, now and whenever its state changes."""
        if alias not in member.aliases:
            member.aliases |= {alias}
            member.deliver(self._frame(alias))

    def heard(self, alias: str, state: str) -> None:
        """A group message told of a change."""
        self._heard_at[alias] = monotonic()
        self._change(alias, state)

    def read(self, states: Mapping[str, str]) -> None:
        """The connections were looked up.

        The table is a moment behind the group messages, so that those count for a while; but
        nobody sends one when a listener dies.
        """
        now = monotonic()
        for alias, state in states.items():
            if now - self._heard_at.get(alias, -_AHEAD) >= _AHEAD:
                self._change(alias, state)

    def _change(self, alias: str, state: str) -> None:
        if self._states.get(alias) == state:
            return
        self._states[alias] = state
        frame = self._frame(alias)
        for member in list(self._members):
            if alias in member.aliases:
                member.deliver(frame)

    def _frame(self, alias: str) -> Frame:
        state = self._states.get(alias, "disconnected")
        return Frame(frames.encode(frames.connection(alias, state, public_reason(state))))


def public_reason(state: str) -> str:
    """Why a connection is in a state, as far as browsers are told."""
    return _REASONS.get(state, "")


def read_states() -> dict[str, str]:
    """The connections' states by alias; uses the database."""
    return {status.alias: status.current_state for status in ConnectionStatus.objects.all()}
