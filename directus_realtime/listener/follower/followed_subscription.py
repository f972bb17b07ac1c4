"""Subscriptions in the follower: query, state and place in the log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import TypeVar

from directus_realtime.client import DirectusClient
from directus_realtime.client.activity_log import Change, IdRange
from directus_realtime.client.feed import FeedState
from directus_realtime.client.keys import PrimaryKey
from directus_realtime.client.log_position import Hole
from directus_realtime.client.rest_messages import MALFORMED
from directus_realtime.exceptions import (
    ConnectionFailed,
    DirectusRealtimeError,
    RequestRefused,
    SubscriptionRefused,
)
from directus_realtime.listener.desired_subscriptions import DesiredSubscription
from directus_realtime.utils.backoff import full_jitter
from directus_realtime.utils.system_clock import SystemClock

#: Seconds; ceilings of the first and the last delay until a refused one is checked again.
_RETRY_BASE, _RETRY_CEILING = 10.0, 300.0


@dataclass
class Place:
    """Place of a subscription in the log; it survives a change of the query.

    Attributes:
        collection: Collection whose rows it follows.
        followed_from: Top of the log when it began; ``None`` before that.
        unread: Ranges whose items could not be read for it.
        is_changed: Whether it differs from the stored place.
    """

    collection: str
    followed_from: int | None = None
    unread: list[IdRange] = field(default_factory=list)
    is_changed: bool = False

    @property
    def has_begun(self) -> bool:
        """Whether rows of the log concern the subscription."""
        return self.followed_from is not None

    def begin(self, top: int) -> None:
        """Begin at the top of the log."""
        self.followed_from, self.unread, self.is_changed = top, [], True

    def move(self, top: int) -> None:
        """Continue at the top of another log; the previous one cannot be read any longer."""
        if self.has_begun:
            self.begin(top)

    def reset(self) -> None:
        """Stop to follow the log."""
        if self.has_begun:
            self.followed_from, self.unread, self.is_changed = None, [], True

    def leave_out(self, ranges: Sequence[IdRange]) -> None:
        """Add ranges that will not be read for the subscription, unless it is behind already."""
        if self.has_begun and not self.is_open:
            self.unread, self.is_changed = [*self.unread, *ranges], True

    def catch_up(self, number: int, holes: Iterable[Hole]) -> None:
        """Note that all visible rows up to one are read.

        Args:
            number: Id of the row.
            holes: Ranges that are not visible yet.
        """
        open_ones = [IdRange(hole.first, hole.last) for hole in holes if hole.last < number]
        rest = [each.after(number) for each in self.unread]
        self.unread = [*open_ones, *(each for each in rest if each is not None)]
        self.is_changed = True

    def close(self) -> None:
        """Note that all unread ranges are read."""
        self.unread, self.is_changed = [], True

    @property
    def is_open(self) -> bool:
        """Whether new rows belong to the unread ranges."""
        return any(each.last is None for each in self.unread)


class FollowedSubscription:
    """State of a desired subscription in the follower.

    Args:
        desired: The desired subscription.
        place: Its place in the log.

    Attributes:
        state: ``subscribed`` where Directus answers its query and its changes are followed.
        error: Why it was refused; else empty.
        primary_key: Primary key of the collection; ``None`` before the check.
        is_socket_only: Whether the log has no changes of its collection.
        is_certain: Whether the log is known to have every change of its collection.
        is_partial: Whether a rule hides some items of the collection from the token.
        refused_since: Since when it is refused and changes of the socket are lost.
        retry_at: Time of the next check of a refused one, by the monotonic clock.
        is_left_out_checked: Whether the log is known to reach back to the unread ranges.
    """

    def __init__(
        self, desired: DesiredSubscription, place: Place, clock: SystemClock | None = None
    ) -> None:
        self.desired = desired
        self._clock = clock or SystemClock()
        self.place = place
        self.state = FeedState.WAITING
        self.error = ""
        self.primary_key: PrimaryKey | None = None
        self.is_socket_only = False
        self.is_certain = True
        self.is_partial = False
        self.refused_since: datetime | None = None
        self.retry_at = 0.0
        self.is_left_out_checked = False
        self._reset_delays()

    def _reset_delays(self) -> None:
        self._delays: Iterator[float] = full_jitter(_RETRY_BASE, 2, _RETRY_CEILING, self._clock)

    @property
    def collection(self) -> str:
        """Name of its collection."""
        return self.desired.query.collection

    @property
    def is_subscribed(self) -> bool:
        """Whether its changes are followed."""
        return self.state is FeedState.SUBSCRIBED

    @property
    def is_current(self) -> bool:
        """Whether new rows of the log become events for it at once."""
        is_asked = self.is_subscribed and self.primary_key is not None
        return is_asked and self.place.has_begun and not self.place.unread

    @property
    def is_new(self) -> bool:
        """Whether it is ready to begin at the end of the log."""
        is_ready = self.primary_key is not None and not self.is_socket_only
        return is_ready and self.state is FeedState.WAITING

    @property
    def is_unchecked(self) -> bool:
        """Whether its query is about to be checked."""
        return self.primary_key is None and self.state is not FeedState.REFUSED

    @property
    def is_catching_up(self) -> bool:
        """Whether unread ranges are being read for it."""
        is_able = self.is_subscribed and self.primary_key is not None
        return is_able and not self.is_socket_only and bool(self.place.unread)

    @property
    def note(self) -> str:
        """Why changes may be missing, as a sentence; empty where none are."""
        if self.error:
            return self.error
        if self.is_socket_only and self.is_subscribed:
            return "Socket only: changes that the socket does not bring are lost."
        if self.place.unread:
            return "Not caught up: changes were missed while the items could not be read."
        return ""

    def wants(self, change: Change) -> bool:
        """Return whether a change concerns this subscription."""
        return change.action in self.desired.query.events and self.wants_item(change)

    def wants_item(self, change: Change) -> bool:
        """Return whether the item of a change concerns this subscription."""
        query = self.desired.query
        if change.collection != query.collection or query.item is None:
            return change.collection == query.collection
        key = self.primary_key or PrimaryKey()
        return str(key.canonical(change.item)) == str(key.canonical(query.item))

    def ask_again(self) -> None:
        """Discard the answer of the server; the query is checked again."""
        self.primary_key = None
        self.retry_at = 0.0

    def wait(self, reason: str = "") -> None:
        """Note that its changes are not followed at present.

        Args:
            reason: Why, as a sentence; empty where it is about to be followed.
        """
        if self.state is not FeedState.REFUSED:
            self.state, self.error = FeedState.WAITING, reason

    def accept(self) -> None:
        """Note that the server answers its query, and that its changes are followed."""
        self.state, self.error = FeedState.SUBSCRIBED, ""
        self.is_left_out_checked = False
        if not self.place.unread:
            self._reset_delays()

    def caught_up(self) -> None:
        """Note that the unread ranges are read, and that its items are readable."""
        self.place.close()
        self._reset_delays()

    def refuse(self, error: str, now: float) -> None:
        """Note that the server refuses its query; it is checked again later."""
        self.state, self.error = FeedState.REFUSED, error
        self.primary_key = None
        self.retry_at = now + 1 + next(self._delays)

    def must_be_checked(self, now: float) -> bool:
        """Return whether a check of the query is due."""
        if self.state is FeedState.REFUSED:
            return now >= self.retry_at
        return self.primary_key is None


T = TypeVar("T")

#: Answers that concern the token or the load of the server, not the query.
_OF_THE_SERVER = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
    }
)


async def ask_query(client: DirectusClient, question: Callable[[], Awaitable[T]]) -> T:
    """Run a request of one query, and retry it once where Directus fails to answer.

    A query that takes too long, or ends the process of the server, fails each time. If the
    activity log can be read in between, the fault is in the query.

    Args:
        client: Reads the log.
        question: Sends the request; may be called twice.

    Raises:
        SubscriptionRefused: Directus fails to answer this query, though it answers others.
        RequestRefused: Directus is not ready to answer, or refuses the query.
        ConnectionFailed: Directus could not be reached.
    """
    is_retry = False
    while True:
        try:
            return await question()
        except (RequestRefused, ConnectionFailed) as error:
            if not _may_be_of_the_query(error) or not await _reads_log(client):
                raise
            if is_retry:
                sentence = f"Directus fails to answer the query: {error}"
                raise SubscriptionRefused("", sentence) from None
            is_retry = True


def _may_be_of_the_query(error: DirectusRealtimeError) -> bool:
    if not isinstance(error, RequestRefused):
        return True
    is_failure = (
        error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        or error.status == HTTPStatus.REQUEST_TIMEOUT
        or error.code == MALFORMED
    )
    return is_failure and error.status not in _OF_THE_SERVER


async def _reads_log(client: DirectusClient) -> bool:
    try:
        await client.activity.newest()
    except (RequestRefused, ConnectionFailed):
        return False
    return True
