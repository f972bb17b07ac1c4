"""A subscription on its way through the activity log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from directus_realtime.client.activity import ActivityRow
from directus_realtime.client.feed import SubscriptionState
from directus_realtime.client.subscription import ClientSubscription
from directus_realtime.listener.catch_up.pairing import Interest
from directus_realtime.listener.wanted import Wanted

#: How exactly the server's clock is known.
UNSURE = timedelta(seconds=1)


@dataclass
class Follower:
    """A subscription on its way through the log.

    Attributes:
        wanted: What it asks for.
        subscription: As the client has it.
        position: Rows up to this one are settled, or are none of its business.
        settled: Rows behind the position that are settled, too.
        is_current: Whether nothing is missing since it was last confirmed.
        refusal: Why the token may not read its items any more; empty where it may. It keeps
            its place until it may again.
        confirmed_at: When it was first confirmed, of the server's clock.
        has_lost: Whether the socket was lost since, before it had a position.
    """

    wanted: Wanted
    subscription: ClientSubscription
    position: int | None
    settled: set[int] = field(default_factory=set)
    is_current: bool = False
    refusal: str = ""
    confirmed_at: datetime | None = None
    has_lost: bool = False

    @property
    def is_subscribed(self) -> bool:
        return self.subscription.state is SubscriptionState.SUBSCRIBED

    @property
    def has_missed_nothing(self) -> bool:
        """Whether it is so new that there is nothing to catch up."""
        return self.position is None and not self.has_lost

    @property
    def begins_at(self) -> datetime | None:
        """Changes from this moment on are its business, of the server's clock; else unknown.

        As long as the socket brings everything, only what certainly comes after the
        confirmation; once something may be missing, all that may come after it.
        """
        if self.position is not None or self.confirmed_at is None:
            return None
        return self.confirmed_at - UNSURE if self.has_lost else self.confirmed_at + UNSURE

    def confirm(self, at: datetime) -> None:
        """Directus sends its changes from this moment on."""
        self.confirmed_at = self.confirmed_at or at

    def lose(self) -> None:
        """What comes from now on may be missed."""
        self.is_current = False
        self.has_lost = self.has_lost or self.confirmed_at is not None

    @property
    def is_behind(self) -> bool:
        """Whether something is missed that can only be found later."""
        return not self.has_missed_nothing and bool(self.refusal or not self.is_subscribed)

    def interest(self) -> Interest:
        """What it wants of the log."""
        return Interest(self.wanted.name, self.wanted.query, self.position or 0)

    def take_over(self, former: Follower | None) -> None:
        """Go on where a former one was; without one of this collection, at the end."""
        if former is None or former.wanted.query.collection != self.wanted.query.collection:
            self.position = None
        else:
            self.position, self.settled = former.position, set(former.settled)

    def settle(self, rows: Iterable[int]) -> None:
        """Rows need not be looked at again."""
        self.settled.update(rows)

    def begin(self, position: int) -> None:
        """Rows up to this one are none of its business, and what is behind it is new."""
        self.position, self.settled = position, set()

    def advance(self, position: int) -> None:
        """Every row up to this one is settled."""
        if self.position is None or position > self.position:
            self.position = position
            self.settled = {row for row in self.settled if row > position}

    def is_open(self, row: ActivityRow) -> bool:
        """Whether a row was not looked at yet."""
        return row.id > (self.position or 0) and row.id not in self.settled
