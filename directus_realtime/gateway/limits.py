"""What one browser may do and hold, and the codes with which it is let go."""

from __future__ import annotations

from dataclasses import dataclass

#: Close codes of WebSocket, and of our own where it has none.
FLOODING, TOO_BIG, SERVER_ERROR, TOO_SLOW = 1008, 1009, 1011, 1013
NOT_AUTHENTICATED, SILENT = 4401, 4408
#: Seconds after which groups are joined anew: channel layers forget members after a day.
REJOIN_AFTER = 3600.0


@dataclass(frozen=True, slots=True)
class BrowserLimits:
    """The limits of each browser.

    Attributes:
        max_message_size: Bytes of one message from a browser.
        messages_per_second: How many messages a browser may send in the long run.
        burst: How many it may send at once.
        max_subscriptions: How many subscriptions it may have.
        heartbeat: Seconds between two pings.
        pong_timeout: Seconds in which a ping must be answered.
        max_unread: Bytes that may have been sent and not be acknowledged.
    """

    max_message_size: int = 64 * 1024
    messages_per_second: float = 50.0
    burst: int = 200
    max_subscriptions: int = 100
    heartbeat: float = 30.0
    pong_timeout: float = 20.0
    max_unread: int = 4 * 1024 * 1024

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
                raise ValueError(f"The gateway's {name} is {value!r}; it must be more than 0.")

    @property
    def ask_at(self) -> int:
        """Bytes that are not acknowledged at which a browser is pinged without waiting."""
        return self.max_unread // 8
