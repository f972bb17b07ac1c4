"""Doorbells: hints that items changed, the rings that are still open, and the pace of polls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from cachetools import FIFOCache

from directus_realtime.client.connection import Connection
from directus_realtime.events import Action, Key
from directus_realtime.protocol import session as protocol
from directus_realtime.protocol.messages import ACTIONS
from directus_realtime.protocol.queries import WireSubscription
from directus_realtime.protocol.session import SessionAction
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.site_code import contained
from directus_realtime.utils.system_clock import SystemClock

logger = EventLogger("directus_realtime.client")


@dataclass(frozen=True, slots=True)
class Ring:
    """A hint that items changed.

    Attributes:
        collection: Name of the collection.
        action: Action of the message; ``None`` where the server failed to send it.
        keys: Keys as Directus sent them; empty where they are unknown.
    """

    collection: str
    action: Action | None
    keys: tuple[object, ...]


class SocketDoorbell:
    """Subscribes to the keys of all changes of watched collections, on each socket again.

    Nothing is checked or read over REST: a ring is a hint, and a change may have none.

    Args:
        connection: Connection with the sockets.

    Attributes:
        on_ring: Called with each ring, in the task that reads the socket; must not block.
    """

    def __init__(self, connection: Connection) -> None:
        self.on_ring: Callable[[Ring], None] | None = None
        self._connection = connection
        self._watched: dict[str, str] = {}
        self._by_uid: dict[str, str] = {}
        self._problems: dict[str, str] = {}

    @property
    def problems(self) -> Mapping[str, str]:
        """The collections that the server refused on the current socket, with a sentence."""
        return MappingProxyType(self._problems)

    def watch(self, collections: Mapping[str, str]) -> None:
        """Set the watched collections.

        A collection that is watched already by the same key is not subscribed again; one that
        was refused is, on the next socket.

        Args:
            collections: Name of each collection's primary key, by collection.
        """
        before, self._watched = self._watched, dict(collections)
        for collection in before.keys() - self._watched.keys():
            self._unsubscribe(collection)
        for collection, key_name in self._watched.items():
            if before.get(collection) != key_name:
                self._by_uid |= dict.fromkeys(_uids(collection).values(), collection)
                self._subscribe(collection)

    def subscribe_again(self) -> None:
        """Subscribe to all watched collections; a new socket is authenticated."""
        self._problems.clear()
        for collection in self._watched:
            self._subscribe(collection)

    def handle(self, action: SessionAction) -> bool:
        """Process a message of the session.

        Returns:
            Whether it belongs to the doorbell only.
        """
        match action:
            case protocol.ItemsChanged(uid, event, data) if uid in self._by_uid:
                collection = self._by_uid[uid]
                self._ring(Ring(collection, event, self._keys(collection, event, data)))
            case protocol.SubscribeRefused(uid, code, message) if uid in self._by_uid:
                self._refused(self._by_uid[uid], code, message)
            case protocol.SubscriptionError(str(uid)) if uid in self._by_uid:
                self._ring(Ring(self._by_uid[uid], None, ()))
            case protocol.Confirmed(uid) if uid in self._by_uid:
                pass
            case protocol.SubscriptionError(None) | protocol.Ignored():
                # Directus names no uid in most errors, so any collection may have changed.
                for collection in self._watched:
                    self._ring(Ring(collection, None, ()))
                return False
            case _:
                return False
        return True

    def _keys(self, collection: str, action: Action, data: list[Any]) -> tuple[object, ...]:
        if action == "delete":
            return tuple(data)
        key_name = self._watched[collection]
        return tuple(row[key_name] for row in data if row.get(key_name) is not None)

    def _ring(self, ring: Ring) -> None:
        if self.on_ring is None:
            return
        try:
            with contained():
                self.on_ring(ring)
        except Exception:
            logger.exception("callback-failed", "on_ring of the client failed.", callback="on_ring")

    def _refused(self, collection: str, code: str, message: str) -> None:
        self._problems[collection] = (
            f"Directus refused to announce changes of {collection} on the WebSocket "
            f"({code}: {message.rstrip('.')}). Check that the token may read the collection."
        )

    def _subscribe(self, collection: str) -> None:
        driver, server = self._connection.driver, self._connection.server
        if driver is None or not self._connection.has_socket:
            return
        keys_only = {"fields": [self._watched[collection]]}
        # With QUERY_LIMIT_MAX only an update without a query comes with all of its keys.
        is_cut = server is not None and server.query_limit > 0
        self._problems.pop(collection, None)
        for action, uid in _uids(collection).items():
            query = {} if is_cut and action == "update" else keys_only
            driver.subscribe(WireSubscription(uid, collection, action, query))

    def _unsubscribe(self, collection: str) -> None:
        self._problems.pop(collection, None)
        for uid in _uids(collection).values():
            del self._by_uid[uid]
            if self._connection.driver is not None:
                self._connection.driver.unsubscribe(uid)


def _uids(collection: str) -> dict[Action, str]:
    # Uids of feeds end with a dot and the action, so they are never equal to one of these.
    return {action: f"ring:{collection}:{action}" for action in ACTIONS}


#: Seconds to wait for the row of a ring, from the last ring of its collection: a list is
#: announced item by item, long before its transaction is committed. The second number is the
#: limit, and the time to wait while the log has young holes.
PATIENCE, LONG_PATIENCE = 10.0, 60.0
#: Seconds to collect rings whose row was read before they came.
_COLLECT = 1.0
#: Seconds in which a web process passes on one knock at the door; the changes of those that come
#: meanwhile are found by one more poll after this time.
KNOCK_WINDOW = 0.1
#: Seconds in which a row that was read is remembered.
_REMEMBERED = 60.0
#: Seconds until the log is polled again for a ring without a row, doubled each time.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
#: Items that are remembered; the oldest is forgotten first.
_MOST = 20_000

_Item = tuple[str, Key]


@dataclass(frozen=True, slots=True)
class OpenRing:
    """A ring of one item.

    Attributes:
        collection: Name of the collection.
        key: Canonical key.
        action: Action of the last ring.
        rung_at: Time of the last ring, by the monotonic clock.
        first_rung_at: Time of the first ring that was not answered, likewise.
        due_at: Time to read the item if no row has appeared by then, likewise.
        waits_for_row: Whether a row may still appear; not if it was read before.
    """

    collection: str
    key: Key
    action: Action
    rung_at: float
    due_at: float
    waits_for_row: bool
    first_rung_at: float = 0.0


class RingBook:
    """Matches rings with the reads of their items.

    A read of the item that starts after the ring answers it: it contains the announced change.

    Args:
        clock: Clock of the rings.

    Attributes:
        has_young_holes: Whether rows of open transactions may follow, so that rings wait longer.
    """

    def __init__(self, clock: SystemClock) -> None:
        self.has_young_holes = False
        self._clock = clock
        self._open: dict[_Item, OpenRing] = {}
        self._rows: FIFOCache[_Item, float] = FIFOCache(_MOST)
        self._last_rung: dict[str, float] = {}
        self._pause = _FIRST_PAUSE
        self._poll_at: float | None = None
        self._knocked_at = self._knocks_until = -PATIENCE
        self._is_knock_answered = True

    def __len__(self) -> int:
        return len(self._open)

    def add(self, collection: str, key: Key, action: Action) -> None:
        """Record a ring."""
        now, item = self._clock.monotonic(), (collection, key)
        self._last_rung[collection] = now
        was_read = now - self._rows.get(item, -_REMEMBERED) < _REMEMBERED
        before = self._open.pop(item, None)
        first_rung_at = before.first_rung_at if before else now
        due_at = now + (_COLLECT if was_read else PATIENCE)
        # An item that keeps ringing is read as well.
        due_at = min(due_at, first_rung_at + LONG_PATIENCE)
        self._open[item] = OpenRing(
            collection, key, action, now, due_at, not was_read, first_rung_at
        )
        if len(self._open) > _MOST:
            del self._open[next(iter(self._open))]

    def poll_soon(self) -> None:
        """Request a poll at once, because a ring came."""
        self._pause, self._poll_at = _FIRST_PAUSE, self._clock.monotonic()

    def knock(self) -> None:
        """Record a ring without a key; the log is polled until a row appears, and once more."""
        self.poll_soon()
        self._knocked_at = self._clock.monotonic()
        self._knocks_until = self._knocked_at + PATIENCE
        self._is_knock_answered = False

    def polled(self, began_at: float) -> None:
        """Record a poll of the log.

        Args:
            began_at: Start of the poll, by the monotonic clock.
        """
        if self._open or (not self._is_knock_answered and began_at < self._knocks_until):
            self._poll_at = self._clock.monotonic() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        elif began_at < self._knocks_until:
            self._poll_at = self._knocks_until
        else:
            self._poll_at = None

    def answer(self, items: Iterable[_Item], read_from: float) -> None:
        """Record that items were read for rows of the log.

        Args:
            items: Collections and canonical keys.
            read_from: Start of the read, by the monotonic clock.
        """
        if not self._is_knock_answered and read_from >= self._knocked_at:
            self._is_knock_answered = True
            self._knocks_until = self._knocked_at + KNOCK_WINDOW
        for item in items:
            ring = self._open.get(item)
            if ring is not None and ring.rung_at <= read_from:
                del self._open[item]
            self._rows[item] = read_from

    def take_due(self) -> list[OpenRing]:
        """Remove and return the rings whose items must be read now."""
        now = self._clock.monotonic()
        due = [ring for ring in self._open.values() if self._due_at(ring) <= now]
        for ring in due:
            del self._open[ring.collection, ring.key]
        return due

    def wait(self) -> float | None:
        """Return the seconds until a poll or a read is due; ``None`` without open rings."""
        times = [self._due_at(ring) for ring in self._open.values()]
        if self._poll_at is not None:
            times.append(self._poll_at)
        return max(min(times) - self._clock.monotonic(), 0.0) if times else None

    def _due_at(self, ring: OpenRing) -> float:
        if not ring.waits_for_row:
            return ring.due_at
        patience = LONG_PATIENCE if self.has_young_holes else PATIENCE
        due_at = max(ring.rung_at, self._last_rung[ring.collection]) + patience
        return min(due_at, ring.first_rung_at + LONG_PATIENCE)


#: Seconds between a row and its knock after which the door counts as silent for the collection.
_SILENCE = 5.0


class DoorWatch:
    """Compares the knocks at the door with the rows of the log.

    Args:
        clock: Clock of the knocks.
    """

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock
        self._knocked_at: float | None = None
        self._missed: dict[str, float] = {}

    def knocked(self, collection: str) -> None:
        """Record a knock.

        Args:
            collection: The collection that it named.
        """
        self._knocked_at = now = self._clock.monotonic()
        self._missed.pop(collection, None)
        recent = [name for name, at in self._missed.items() if now - at < _SILENCE]
        for name in recent:
            del self._missed[name]

    def found(self, collections: Iterable[str]) -> None:
        """Record rows of followed collections."""
        now = self._clock.monotonic()
        if self._knocked_at is None or now - self._knocked_at >= _SILENCE:
            for collection in collections:
                self._missed.setdefault(collection, now)

    def problem(self) -> str:
        """Return why the door does not announce changes; empty where it does."""
        if self._knocked_at is None:
            return "It has not rung since the listener started."
        now = self._clock.monotonic()
        silent = sorted(name for name, at in self._missed.items() if now - at >= _SILENCE)
        return f"It did not ring for changes of {', '.join(silent)}." if silent else ""
