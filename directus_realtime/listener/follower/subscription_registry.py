"""The subscriptions of a follower, their checks by Directus, and their places in the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any

from directus_realtime.client import DirectusClient
from directus_realtime.client.activity_log import IdRange
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
from directus_realtime.utils.system_clock import SystemClock

#: Concurrent checks of subscriptions.
_CHECKS = 4


class SubscriptionRegistry:
    """The followed subscriptions of one connection.

    Ranges that its methods call ``unread`` are those of the log that were not read yet.
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
    def numbers(self) -> set[int]:
        """Primary keys of their rows."""
        return set(self._places)

    @property
    def has_begun(self) -> bool:
        """Whether a subscription has a place in the log."""
        return any(place.has_begun for place in self._places.values())

    @property
    def is_settled(self) -> bool:
        """Whether no check or catch-up is running, so that the missing changes are known."""
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

    def add(self, desired: DesiredSubscription) -> FollowedSubscription:
        """Add a subscription at its previous place in the log.

        One that was changed continues at its place. One that was disabled, or has another
        collection now, begins at the end of the log.
        """
        collection = desired.query.collection
        place = self._places.get(desired.subscription_id)
        if place is None and desired.followed_in == self._place_name(collection):
            unread = [IdRange(first, last) for first, last in desired.unread]
            place = Place(collection, desired.followed_from, unread)
        elif place is None or place.collection != collection:
            place = Place(collection)
        self._places[desired.subscription_id] = place
        subscription = self._by_uid[desired.uid] = FollowedSubscription(desired, place, self._clock)
        return subscription

    def remove(self, desired: DesiredSubscription) -> None:
        """Remove a subscription."""
        self._by_uid.pop(desired.uid, None)
        if desired.subscription_id not in {each.desired.subscription_id for each in self}:
            self._places.pop(desired.subscription_id, None)
        self._watch_collections()

    def _place_name(self, collection: str) -> str:
        return f"{self._client.name}/{collection}"

    async def check(self, unread: Sequence[IdRange]) -> None:
        """Have Directus check the queries that are due, over REST: the socket checks none."""
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
                    self._client, partial(self._client.check_query, subscription.desired.query)
                )
            except SubscriptionRefused as error:
                return self.refuse(subscription, str(error), unread)
            if not self._access.knows(subscription.collection):
                await self._access.ask(subscription.collection)
        self._accept(subscription)

    def _accept(self, subscription: FollowedSubscription) -> None:
        collection = subscription.collection
        if (since := subscription.refused_since) is not None:
            subscription.refused_since = None
            outage = Outage(since, f"{subscription.desired.name} was refused", doubts=[SOCKET_ONLY])
            self._gaps.announce(outage, [collection], self._clock.now())
        was_socket_only = subscription.is_socket_only
        subscription.is_socket_only = not self._access.is_logged(collection)
        subscription.is_certain = self._access.is_certain(collection)
        subscription.is_partial = self._access.is_partial(collection)
        if subscription.is_socket_only:
            if not self._access.problem:
                subscription.place.reset()  # where it is logged again, it begins there
            self._stand_by_socket(subscription)
        elif subscription.place.has_begun:
            subscription.accept()
        elif was_socket_only:
            subscription.wait()
            self._gaps.doubt(f"{collection} was not logged before", {collection})

    def refuse(
        self, subscription: FollowedSubscription, error: str, unread: Sequence[IdRange]
    ) -> None:
        """Refuse a subscription, and add the ranges that will not be read for it."""
        subscription.place.leave_out(unread)
        if subscription.is_socket_only and subscription.is_subscribed:
            subscription.refused_since = self._clock.now()
        subscription.refuse(error, self._clock.monotonic())
        self._on_change()

    def leave_out(
        self, unread: Sequence[IdRange], but: Collection[FollowedSubscription] = ()
    ) -> None:
        """Add ranges that are about to be read to the unread ones of the other subscriptions."""
        for each in self:
            if not each.is_current and each not in but:
                each.place.leave_out(unread)

    def begin(self, top: int) -> bool:
        """Start new subscriptions at the top of the log; return whether there were any."""
        new = [each for each in self if each.is_new]
        for each in new:
            if not each.place.has_begun:
                each.place.begin(top)
            each.accept()
        if new:
            self._on_change()
        return bool(new)

    def move(self, top: int) -> None:
        """Continue at the top of another log."""
        for place in self._places.values():
            place.move(top)

    def stand_by_socket(self) -> None:
        """Update the state of socket-only subscriptions."""
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

    def changed_places(self) -> dict[int, dict[str, Any]]:
        """Return the columns of changed places by subscription, and mark them as stored."""
        changed = {}
        for number, place in self._places.items():
            if place.is_changed:
                place.is_changed = False
                changed[number] = {
                    "followed_from": place.followed_from,
                    "followed_in": self._place_name(place.collection) if place.has_begun else "",
                    "unread": [[each.first, each.last] for each in place.unread],
                }
        return changed

    def uncertain(self) -> dict[str, str]:
        """Return the collections with possibly lost changes, each with a reason."""
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
        """Watch the readable collections by the socket, and those that are about to be checked."""
        watched: dict[str, str] = {}
        for each in self:
            name = each.collection
            if each.primary_key is not None:
                watched[name] = each.primary_key.name
            elif each.is_unchecked and name in self._watched:
                watched.setdefault(name, self._watched[name])
        self._watched = watched
        self._client.doorbell.watch(watched)
