"""Settings, clock and faults of a fake Directus."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import format_datetime


@dataclass(frozen=True)
class ServerOptions:
    """The settings of Directus that the fake knows; times are in seconds."""

    version: str
    websockets: bool
    websocket_path: str
    auth_mode: str
    auth_timeout: float
    heartbeat_period: float
    query_limit_max: int | None
    cache: bool


class ServerClock:
    """The system's time with an offset.

    Attributes:
        ahead: How far the server's clock is ahead of the system's.
    """

    def __init__(self) -> None:
        self.ahead = dt.timedelta()

    def now(self) -> dt.datetime:
        """Return the server's time, in UTC."""
        return dt.datetime.now(dt.UTC) + self.ahead

    def timestamp(self, shift: dt.timedelta = dt.timedelta()) -> str:
        """Return the server's time, shifted, as Directus writes it."""
        return as_written(self.now() + shift)

    def http_date(self) -> str:
        """Return the server's time for the header ``Date``."""
        return format_datetime(self.now(), usegmt=True)


def as_written(moment: dt.datetime) -> str:
    """Return a moment as Directus writes it, in UTC with milliseconds."""
    text = moment.astimezone(dt.UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


@dataclass
class RateLimit:
    """The highest number of messages of one socket in a span of time."""

    points: int
    seconds: float


@dataclass
class Faults:
    """The active faults; none at first."""

    thawed: asyncio.Event = field(default_factory=asyncio.Event)
    reply_delay: float = 0.0  # seconds
    upgrade_status: int | None = None
    search_status: int | None = None
    pressed: int = 0  # REST requests to refuse
    lost_subscribe_replies: int = 0
    rate_limit: RateLimit | None = None
    held_changes: list[Callable[[], None]] | None = None  # each sends a message

    def __post_init__(self) -> None:
        self.thawed.set()

    def is_pressed(self) -> bool:
        """Count a request, and return whether to refuse it."""
        if self.pressed == 0:
            return False
        self.pressed -= 1
        return True

    def loses_subscribe_reply(self) -> bool:
        """Count a reply, and return whether to drop it."""
        if self.lost_subscribe_replies == 0:
            return False
        self.lost_subscribe_replies -= 1
        return True
