"""Topics: the events of an offer, and the subscriptions that receive them."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from cachetools import FIFOCache

from directus_realtime.events import Action, Key
from directus_realtime.gateway import frames
from directus_realtime.gateway.browser_query import SubscribeRequest
from directus_realtime.gateway.browser_view import UNKNOWN, BrowserView
from directus_realtime.gateway.frames import Frame, Json
from directus_realtime.gateway.offers import Offer
from directus_realtime.utils.logs import EventLogger

logger = EventLogger("directus_realtime.gateway")

#: Events of an offer that are kept for browsers that reconnect.
RING = 1000
#: Items of an offer whose last row is remembered.
ROWS = 5000
#: Last events of browsers, for each offer, whose missed events are remembered.
MISSED = 5

Row = dict[str, Any]


class Recipient(Protocol):
    """The connection of a subscription."""

    subscriptions: dict[str | int, BrowserSubscription]

    def deliver(self, frame: Frame) -> None:
        """Send a frame, without waiting."""

    def send_message(self, message: Json) -> None:
        """Send a message to this browser alone."""


@dataclass(frozen=True, slots=True)
class TopicChange:
    """An event of an offer, as input of views.

    Attributes:
        number: Number of the event among those of the offer in this process.
        previous: The row that was known before; ``UNKNOWN`` if there is none.
    """

    number: int
    event_id: str
    action: Action
    key: Key
    row: Row | None
    previous: Any
    origin: str

    @classmethod
    def from_message(cls, number: int, message: Json, rows: LastRows) -> TopicChange:
        """Make a change of its group message.

        Args:
            number: Number of the change.
            message: The group message.
            rows: The last row of each item; updated.
        """
        action, row, key = message["action"], message["data"], message["key"]
        if message.get("left_filter"):
            # To subscribers of a set of items, it is deleted.
            action, row = "delete", None
        previous = rows.replace(key, row)
        origin = message.get("origin", "live")
        return cls(number, message["id"], action, key, row, previous, origin)


@dataclass(frozen=True, slots=True)
class Missed:
    """The events after the last one that some browsers received.

    Attributes:
        number: Number of the topic's newest event when they were read; later events are in
            the memory of the topic.
        changes: The events.
    """

    number: int
    changes: list[TopicChange]

    def reaches(self, topic: Topic) -> bool:
        """Return whether the topic still remembers all later events."""
        return topic.last - self.number <= RING


class BrowserSubscription:
    """One subscription of one browser.

    Args:
        connection: Connection of the browser.
        name: Key among the connection's subscriptions: the uid, or a number of ours.
        request: The request of the browser.
        topic: Topic of the offer.
        view: The part of the offer that the browser receives.

    Attributes:
        is_active: False once it has ended.
    """

    __slots__ = ("connection", "is_active", "name", "request", "suffix", "topic", "view")

    def __init__(
        self,
        connection: Recipient,
        name: str | int,
        request: SubscribeRequest,
        topic: Topic,
        view: BrowserView,
    ) -> None:
        self.connection = connection
        self.name = name
        self.request = request
        self.topic = topic
        self.view = view
        self.suffix = frames.suffix(request.uid)
        self.is_active = True

    @property
    def audience(self) -> Hashable:
        """Equal for subscriptions that receive the same events in the same form."""
        return (self.view.key, self.is_single)

    @property
    def is_single(self) -> bool:
        """Whether it is for one item, which Directus then sends without a list."""
        return self.request.query.item is not None

    def show(self, change: TopicChange) -> str | None:
        """Return the beginning of the frame of a change; ``None`` if the view hides it."""
        seen = self.view.see(change.action, change.key, change.row, change.previous)
        if seen is None:
            return None
        data = seen.data if self.is_single else [seen.data]
        return frames.head(frames.event(seen.action, data, change.event_id, change.origin))

    def end(self) -> None:
        """End the subscription; no further events are sent."""
        self.is_active = False
        self.connection.subscriptions.pop(self.name, None)
        self.topic.remove(self)

    def end_with_error(self, code: str, message: str) -> None:
        """End the subscription, and send the browser the reason."""
        self.end()
        error = frames.error("subscribe", code, message)
        self.connection.send_message(frames.with_uid(error, self.request.uid))


class Topic:
    """The events of one offer.

    Args:
        offer: The offer.

    Attributes:
        last: Number of the newest event.
        recent: The newest events.
        rows: The last row of each item that was received.
        missed: Missed events, by the id of the last one that browsers received.
        pending: Number of browsers that are about to subscribe.
        idle_checks: Number of checks in a row that found no subscription.
    """

    def __init__(self, offer: Offer) -> None:
        self.offer = offer
        self.last = 0
        self.recent: deque[TopicChange] = deque(maxlen=RING)
        self.rows = LastRows(ROWS)
        self.missed: FIFOCache[str, Missed] = FIFOCache(MISSED)
        self.pending = 0
        self.idle_checks = 0
        # By audience, and within one by the end of their frames.
        self._audiences: dict[Hashable, dict[str, dict[BrowserSubscription, None]]] = {}

    @property
    def is_in_use(self) -> bool:
        """Whether it has subscriptions, or a browser is about to subscribe."""
        return bool(self._audiences) or self.pending > 0

    def __iter__(self) -> Iterator[BrowserSubscription]:
        for audience in list(self._audiences.values()):
            for subscriptions in list(audience.values()):
                yield from list(subscriptions)

    def add(self, subscription: BrowserSubscription) -> None:
        """Send events to a subscription from now on."""
        audience = self._audiences.setdefault(subscription.audience, {})
        audience.setdefault(subscription.suffix, {})[subscription] = None

    def remove(self, subscription: BrowserSubscription) -> None:
        """Send no further events to a subscription."""
        audience = self._audiences.get(subscription.audience, {})
        subscriptions = audience.get(subscription.suffix, {})
        subscriptions.pop(subscription, None)
        if not subscriptions:
            audience.pop(subscription.suffix, None)
        if not audience:
            self._audiences.pop(subscription.audience, None)

    def change_view(self, subscription: BrowserSubscription, view: BrowserView) -> None:
        """Replace the view of a subscription."""
        self.remove(subscription)
        subscription.view = view
        self.add(subscription)

    def record(self, message: Json) -> TopicChange:
        """Remember the event of a group message."""
        self.last += 1
        change = TopicChange.from_message(self.last, message, self.rows)
        self.recent.append(change)
        return change

    def number_of(self, event_id: str) -> int | None:
        """Return the number of a recent event; ``None`` if it is not among them."""
        for change in reversed(self.recent):
            if change.event_id == event_id:
                return change.number
        return None

    def after(self, number: int) -> list[TopicChange]:
        """Return the recent events with a higher number."""
        return [change for change in self.recent if change.number > number]

    def deliveries(self, change: TopicChange) -> list[tuple[Frame, list[BrowserSubscription]]]:
        """Return the frames of an event, each with the subscriptions that receive it."""
        found = []
        for audience in self._audiences.values():
            first = next(iter(next(iter(audience.values()))))
            try:
                head = first.show(change)
            except Exception:  # a view that fails must not keep the event from the others
                logger.exception(
                    "event-not-shown",
                    "An event of %s could not be shown.",
                    self.offer.name,
                    offer=self.offer.name,
                )
                continue
            if head is not None:
                found += [(Frame(head + end), list(to)) for end, to in audience.items()]
        return found


class LastRows:
    """The last row of each item.

    Args:
        size: Maximum number of items; those that changed longest ago are forgotten.
    """

    def __init__(self, size: int) -> None:
        self._rows: FIFOCache[str, Row] = FIFOCache(size)

    def replace(self, key: Key, row: Row | None) -> Any:
        """Remember a row, or forget it if ``None``; return the previous one, or ``UNKNOWN``."""
        # ``DELETE /items/x/1`` sends the key as a text.
        previous = self._rows.pop(str(key), UNKNOWN)
        if row is not None:
            self._rows[str(key)] = row
        return previous

    def learn(self, key: Key, row: Row) -> None:
        """Remember a row that was read, unless a newer one is known."""
        if str(key) not in self._rows and len(self._rows) < self._rows.maxsize:
            self._rows[str(key)] = row
