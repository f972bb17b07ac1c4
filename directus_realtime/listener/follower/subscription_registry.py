"""The subscriptions of a follower: which there are, how each stands, and their places."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial

from directus_realtime.client import DirectusClient
from directus_realtime.client.activity_log import IdRange
from directus_realtime.client.feed import FeedState
from directus_realtime.client.keys import PrimaryKey
from directus_realtime.exceptions import SubscriptionRefused
from directus_realtime.listener.desired_subscriptions import DesiredSubscription
from directus_realtime.listener.follower import followed_subscription
from directus_realtime.listener.follower.followed_subscription import (
    FollowedSubscription,
    Place,
)
from directus_realtime.listener.follower.gaps import SOCKET_ONLY, GapKeeper, Outage
from directus_realtime.listener.follower.log_access import LogAccess
from directus_realtime.listener.follower.position_store import PlaceUpdate
from directus_realtime.utils.system_clock import SystemClock

#: Checks of subscriptions at a time.
_CHECKS = 4


class SubscriptionRegistry:
    """Keeps the subscriptions of one connection, and has Directus check them.

    Args:
        client: To ask with.
        access: Knows what the log has of a collection.
        gaps: Takes doubts.
        on_change: Called where a subscription stands otherwise than before.
        clock: Gives the time.
    """

    def __init__(
        self,
        client: DirectusClient,
        access: LogAccess,
        gaps: GapKeeper,
        on_change: Callable[[], None],
        clock: SystemClock,
    ) -> None:
        self._client = client
        self._access = access
        self._gaps = gaps
        self._on_change = on_change
        self._clock = clock
        self._by_uid: dict[str, FollowedSubscription] = {}
        self._places: dict[int, Place] = {}
        self._watched: dict[str, str] = {}

    def __iter__(self) -> Iterator[FollowedSubscription]:
        return iter(list(self._by_uid.values()))

    @property
    def collections(self) -> list[str]:
        """Their collections, each once."""
        return sorted({each.collection for each in self})

    @property
    def has_begun(self) -> bool:
        """Whether one of them has a place in the log."""
        return any(place.has_begun for place in self._places.values())

    @property
    def is_settled(self) -> bool:
        """Whether nothing is under way that may change what is missing."""
        return not any(each.is_unchecked or each.is_catching_up for each in self)

    def of_collection(self, collection: str) -> list[FollowedSubscription]:
        """Return those of one collection."""
        return [each for each in self if each.collection == collection]

    def primary_key(self, collection: str) -> PrimaryKey:
        """Return the primary key of a collection, as far as it is known."""
        keys = (each.primary_key for each in self.of_collection(collection))
        return next((key for key in keys if key is not None), PrimaryKey())

    def primary_keys(self) -> dict[str, PrimaryKey]:
        """Return the primary keys of all collections, as far as they are known."""
        found: dict[str, PrimaryKey] = {}
        for each in self:
            if each.primary_key is not None or each.collection not in found:
                found[each.collection] = each.primary_key or PrimaryKey()
        return found

    # Which there are

    def add(self, wanted: DesiredSubscription) -> FollowedSubscription:
        """Follow a subscription, from where it was left.

        One that was changed goes on where it was. One that was disabled, or is of another
        collection now, begins at the end of the log.
        """
        collection = wanted.query.collection
        place = self._places.get(wanted.subscription_id)
        if place is None and wanted.followed_in != self._place_name(collection):
            place = Place(collection)
        elif place is None:
            unread = [IdRange(first, last) for first, last in wanted.unread]
            place = Place(collection, wanted.followed_from, unread)
        elif place.collection != collection:
            place = Place(collection)
        self._places[wanted.subscription_id] = place
        subscription = self._by_uid[wanted.uid] = FollowedSubscription(wanted, place)
        return subscription

    def update(self, wanted: DesiredSubscription) -> None:
        """Take note of what became of a subscription in the database."""
        self._by_uid[wanted.uid].wanted = wanted

    def remove(self, wanted: DesiredSubscription) -> None:
        """Leave a subscription."""
        self._by_uid.pop(wanted.uid, None)
        if wanted.subscription_id not in {each.wanted.subscription_id for each in self}:
            self._places.pop(wanted.subscription_id, None)
        self._watch_collections()

    def _place_name(self, collection: str) -> str:
        return f"{self._client.name}/{collection}"

    # How they stand

    def ask_again(self) -> None:
        """Forget what the server said of them."""
        for each in self:
            each.ask_again()

    def wait(self) -> None:
        """Note that Directus cannot be asked."""
        for each in self:
            each.wait()

    def retry_at(self) -> list[float]:
        """Return when refused ones are checked again, by the monotonic clock."""
        return [each.retry_at for each in self if each.state is FeedState.REFUSED]

    async def check(self, unread: Sequence[IdRange]) -> None:
        """Have Directus check the queries that it was not asked about.

        Over REST, because a subscribe on the socket is not checked.

        Args:
            unread: What was not read of the log yet.

        Raises:
            RequestRefused: Directus is not ready to answer.
            ConnectionFailed: Directus could not be reached.
        """
        now = self._clock.monotonic()
        due = [each for each in self if each.must_be_checked(now)]
        if not due:
            return
        checks = asyncio.Semaphore(_CHECKS)
        await asyncio.gather(*(self._check(each, unread, checks) for each in due))
        self._watch_collections()
        self._on_change()

    async def _check(
        self,
        subscription: FollowedSubscription,
        unread: Sequence[IdRange],
        checks: asyncio.Semaphore,
    ) -> None:
        async with checks:
            try:
                subscription.primary_key = await followed_subscription.ask_query(
                    self._client, partial(self._client.check_query, subscription.wanted.query)
                )
            except SubscriptionRefused as error:
                self.refuse(subscription, str(error), unread)
                return
            if not self._access.knows(subscription.collection):
                await self._access.ask(subscription.collection)
        self._accept(subscription)

    def _accept(self, subscription: FollowedSubscription) -> None:
        collection = subscription.collection
        if (since := subscription.refused_since) is not None:
            subscription.refused_since = None
            outage = Outage(since, f"{subscription.wanted.name} was refused", doubts=[SOCKET_ONLY])
            self._gaps.announce(outage, [collection], self._clock.now())
        was_socket_only = subscription.is_socket_only
        subscription.is_socket_only = not self._access.is_logged(collection)
        subscription.is_certain = self._access.is_certain(collection)
        subscription.is_partial = self._access.is_partial(collection)
        if subscription.is_socket_only:
            if not self._access.problem:
                subscription.place.forget()  # where it is logged again, it begins there
            self._stand_by_socket(subscription)
        elif subscription.place.has_begun:
            subscription.accept()
        elif was_socket_only:
            subscription.wait()
            self._gaps.doubt(f"{collection} was not logged before", {collection})

    def refuse(
        self, subscription: FollowedSubscription, error: str, unread: Sequence[IdRange]
    ) -> None:
        """Refuse a subscription, and remember what is not read for it from now on.

        Args:
            subscription: The subscription.
            error: Directus's sentence.
            unread: What was not read of the log yet.
        """
        subscription.place.leave_out(unread)
        if subscription.is_socket_only and subscription.is_subscribed:
            subscription.refused_since = self._clock.now()
        subscription.refuse(error, self._clock.monotonic())
        self._on_change()

    def leave_out(
        self, unread: Sequence[IdRange], but: Collection[FollowedSubscription] = ()
    ) -> None:
        """Remember what is about to be read, but not for all subscriptions.

        Args:
            unread: What was not read of the log yet.
            but: Those for which it is read.
        """
        for each in self:
            if not each.is_current and each not in but:
                each.place.leave_out(unread)

    def begin(self, top: int) -> bool:
        """Have new subscriptions begin at the top of the log.

        Returns:
            Whether there were any.
        """
        new = [each for each in self if each.is_new]
        for each in new:
            if not each.place.has_begun:
                each.place.begin(top)
            each.accept()
        if new:
            self._on_change()
        return bool(new)

    def move(self, top: int) -> None:
        """Have all go on at the top of another log."""
        for place in self._places.values():
            place.move(top)

    def stand_by_socket(self) -> None:
        """Have those without a log stand as the socket does."""
        for each in self:
            self._stand_by_socket(each)
        self._on_change()

    def _stand_by_socket(self, subscription: FollowedSubscription) -> None:
        if not subscription.is_socket_only or subscription.primary_key is None:
            return
        if self._client.has_socket:
            subscription.accept()
        else:
            subscription.wait(
                f"{subscription.collection} is not in the activity log, and there is no socket: "
                f"{self._client.socket_problem}"
            )

    def changed_places(self) -> dict[int, PlaceUpdate]:
        """Return the places that differ from what is stored, and take them for stored."""
        changed = {}
        for number, place in self._places.items():
            if place.is_changed:
                place.is_changed = False
                name = self._place_name(place.collection) if place.has_begun else ""
                changed[number] = PlaceUpdate(place.followed_from, name, tuple(place.unread))
        return changed

    def uncertain(self) -> dict[str, str]:
        """Return the collections of which changes may be lost, each with a reason."""
        found: dict[str, str] = {}
        for each in self:
            if self._access.problem:
                found[each.collection] = self._access.problem
            elif not each.is_current:
                reason = each.note.rstrip(".")
                found[each.collection] = reason or f"{each.collection} cannot be read"
            elif not each.is_certain:
                found[each.collection] = f"Directus is not known to log {each.collection}"
        return found

    def _watch_collections(self) -> None:
        """Have the socket ring for the collections of all subscriptions that can be read.

        It goes on ringing for those that are about to be checked.
        """
        watched: dict[str, str] = {}
        for each in self:
            name = each.collection
            if each.primary_key is not None:
                watched[name] = each.primary_key.name
            elif each.is_unchecked and name in self._watched:
                watched.setdefault(name, self._watched[name])
        self._watched = watched
        self._client.doorbell.watch(watched)
