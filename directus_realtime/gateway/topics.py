"""The events of one offer, and who gets them in which form."""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from directus_realtime.events import Action, Key
from directus_realtime.gateway import frames
from directus_realtime.gateway.browser_view import UNKNOWN, BrowserView
from directus_realtime.gateway.frames import Frame, Json
from directus_realtime.gateway.offers import Offer

if TYPE_CHECKING:
    from directus_realtime.gateway.browser_connections import BrowserConnection
    from directus_realtime.gateway.browser_query import Subscribe
    from directus_realtime.gateway.missed_events import Missed

logger = logging.getLogger("directus_realtime.gateway")

#: Events of an offer that are kept for browsers that come back.
RING = 1000
#: Items of an offer of which the last row is remembered.
ROWS = 5000

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TopicChange:
    """An event of an offer, as views look at it.

    Attributes:
        number: Counts the events of the offer in this process.
        previous: The row that was known before; ``UNKNOWN`` where none was.
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
        """A change from its group message.

        Args:
            number: Of the change.
            message: The group message.
            rows: The last row of each item; brought up to date.
        """
        action, row, key = message["action"], message["data"], message["key"]
        if message.get("left_filter"):
            # For who follows a set of items, it is gone.
            action, row = "delete", None
        previous = rows.replace(key, row)
        origin = message.get("origin", "live")
        return cls(number, message["id"], action, key, row, previous, origin)


class BrowserSubscription:
    """One subscription of one browser.

    Attributes:
        name: What the browser knows it by: its uid, or a number of ours.
        asked: What it asked for.
        view: What it may see.
        is_active: False once it has ended.
    """

    __slots__ = ("asked", "is_active", "member", "name", "stream", "suffix", "view")

    def __init__(
        self,
        member: BrowserConnection,
        name: str | int,
        asked: Subscribe,
        stream: Topic,
        view: BrowserView,
    ) -> None:
        self.member = member
        self.name = name
        self.asked = asked
        self.stream = stream
        self.view = view
        self.suffix = frames.suffix(asked.uid)
        self.is_active = True

    @property
    def sees(self) -> Hashable:
        """Equal for those that get the same events in the same form."""
        return (self.view.key, self.is_single)

    @property
    def is_single(self) -> bool:
        """Whether it is about one item, which Directus then sends without a list."""
        return self.asked.query.item is not None

    def show(self, change: TopicChange) -> str | None:
        """A change as this subscription is told it, without the end of the frame."""
        return show(change, self.view, self.is_single)

    def end(self) -> None:
        """Get no more events."""
        self.is_active = False
        self.member.subscriptions.pop(self.name, None)
        self.stream.remove(self)


def show(change: TopicChange, view: BrowserView, is_single: bool) -> str | None:
    """A change as the beginning of a frame; ``None`` where the view does not have it."""
    seen = view.see(change.action, change.key, change.row, change.previous)
    if seen is None:
        return None
    data = seen.data if is_single else [seen.data]
    return frames.head(frames.event(seen.action, data, change.event_id, change.origin))


class Topic:
    """The events of one offer.

    Args:
        offer: What is offered.

    Attributes:
        last: The number of the newest event.
        recent: The newest events.
        rows: The last row of each item that was seen.
        missed: What came after an event that browsers saw last, by its id.
        visits: Browsers that are about to subscribe.
        idle_looks: How often nobody was found to want it.
    """

    def __init__(self, offer: Offer) -> None:
        self.offer = offer
        self.last = 0
        self.recent: deque[TopicChange] = deque(maxlen=RING)
        self.rows = LastRows(ROWS)
        self.missed: OrderedDict[str, Missed] = OrderedDict()
        self.visits = 0
        self.idle_looks = 0
        # By what they see, and among those by the end of their frames.
        self._audiences: dict[Hashable, dict[str, dict[BrowserSubscription, None]]] = {}

    @property
    def is_wanted(self) -> bool:
        """Whether anybody subscribes, or is about to."""
        return bool(self._audiences) or self.visits > 0

    def __iter__(self) -> Iterator[BrowserSubscription]:
        for audience in list(self._audiences.values()):
            for subscriptions in list(audience.values()):
                yield from list(subscriptions)

    def add(self, subscription: BrowserSubscription) -> None:
        """Have a subscription get what comes from now on."""
        audience = self._audiences.setdefault(subscription.sees, {})
        audience.setdefault(subscription.suffix, {})[subscription] = None

    def remove(self, subscription: BrowserSubscription) -> None:
        """Have it get nothing more."""
        audience = self._audiences.get(subscription.sees, {})
        subscriptions = audience.get(subscription.suffix, {})
        subscriptions.pop(subscription, None)
        if not subscriptions:
            audience.pop(subscription.suffix, None)
        if not audience:
            self._audiences.pop(subscription.sees, None)

    def change_view(self, subscription: BrowserSubscription, view: BrowserView) -> None:
        """Have a subscription see something else from now on."""
        self.remove(subscription)
        subscription.view = view
        self.add(subscription)

    def take(self, message: Json) -> TopicChange:
        """Note an event.

        Args:
            message: Its group message.
        """
        self.last += 1
        change = TopicChange.from_message(self.last, message, self.rows)
        self.recent.append(change)
        return change

    def number_of(self, event_id: str) -> int | None:
        """The number of a recent event; ``None`` where it is not among them."""
        for change in reversed(self.recent):
            if change.event_id == event_id:
                return change.number
        return None

    def after(self, number: int) -> list[TopicChange]:
        """The recent events with a higher number."""
        return [change for change in self.recent if change.number > number]

    def deliveries(self, change: TopicChange) -> list[tuple[Frame, list[BrowserSubscription]]]:
        """The frames of an event, each with those that are to get it."""
        found = []
        for audience in self._audiences.values():
            first = next(iter(next(iter(audience.values()))))
            try:
                begin = first.show(change)
            except Exception:  # what one view cannot show is no reason to keep it from others
                logger.exception(
                    "An event of %s could not be shown.",
                    self.offer.name,
                    extra={"event": "event-not-shown", "offer": self.offer.name},
                )
                continue
            if begin is not None:
                found += [(Frame(begin + end), list(to)) for end, to in audience.items()]
        return found


class LastRows:
    """The last row of each item, as far as remembered.

    Args:
        size: Items; those that nothing was heard of for longest are forgotten.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: OrderedDict[str, Row] = OrderedDict()

    def replace(self, key: Key, row: Row | None) -> Any:
        """Remember a row, or forget one that is gone; gives the one before, or ``UNKNOWN``."""
        # ``DELETE /items/x/1`` sends the key as a text.
        previous = self._rows.pop(str(key), UNKNOWN)
        if row is not None:
            self._rows[str(key)] = row
            if len(self._rows) > self._size:
                self._rows.popitem(last=False)
        return previous

    def learn(self, key: Key, row: Row) -> None:
        """Remember a row that was read, where nothing newer is known."""
        if str(key) not in self._rows and len(self._rows) < self._size:
            self._rows[str(key)] = row
