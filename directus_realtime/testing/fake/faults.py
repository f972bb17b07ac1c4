"""What is wrong with a fake Directus at the moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class RateLimit:
    """So many messages of one socket in so many seconds."""

    points: int
    seconds: float


@dataclass
class Faults:
    """The switches; all are off at first."""

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
        """Say whether the next request is one to refuse, and count it."""
        if self.pressed == 0:
            return False
        self.pressed -= 1
        return True

    def loses_subscribe_reply(self) -> bool:
        """Say whether the reply at hand is one to swallow, and count it."""
        if self.lost_subscribe_replies == 0:
            return False
        self.lost_subscribe_replies -= 1
        return True
