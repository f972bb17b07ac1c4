"""The hub: one subscriber to the channel layer for all browsers of a process.

A group message arrives once in a process, is evaluated once for each distinct view, and is
encoded once; each browser only receives the text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from cachetools import FIFOCache

from directus_realtime.database import DatabaseThread
from directus_realtime.gateway import frames
from directus_realtime.gateway.browser_connections import BrowserConnection
from directus_realtime.gateway.first_load import FirstLoads
from directus_realtime.gateway.frames import Frame, Json
from directus_realtime.gateway.group_subscriber import GroupSubscriber
from directus_realtime.gateway.missed_events import MissedEvents
from directus_realtime.gateway.offers import Offer
from directus_realtime.gateway.topics import Topic, TopicChange
from directus_realtime.groups import connection_group_name
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.system_clock import SystemClock

logger = EventLogger("directus_realtime.gateway")

#: Events whose ids are remembered, so that one that is received twice is delivered once.
SEEN = 20_000
#: Frames that are delivered before other tasks run.
_CHUNK = 500
#: Seconds for which a group message about a connection outranks the table.
_AHEAD = 3.0


class BackgroundTasks(Protocol):
    """The periodic tasks of a hub."""

    async def ready(self) -> None:
        """Wait until the offers are loaded, and the inbox is followed."""

    async def aclose(self) -> None:
        """Cancel the tasks; called without a pause when the last connection has left."""


class Hub:
    """Dispatcher of events to the browsers of one event loop, as long as there are any.

    Args:
        clock: Clock of the gateway in this event loop.
        start_tasks: Starts the periodic tasks of a hub.

    Attributes:
        connections: The connected browsers.
        offers: The offers by name.
        topics: The topics of the offers with subscriptions, by name.
        first_loads: Reader of first loads.
        missed_events: Reader of missed events.
        subscriber: Subscriber to the groups of the topics.
        states: States of the Directus connections.
        database: Thread of all queries.
    """

    def __init__(self, clock: SystemClock, start_tasks: Callable[[Hub], BackgroundTasks]) -> None:
        self.clock = clock
        self.connections: dict[BrowserConnection, None] = {}
        self.offers: dict[str, Offer] = {}
        self.topics: dict[str, Topic] = {}
        self.first_loads = FirstLoads(clock)
        self.subscriber = GroupSubscriber(self.receive, clock)
        self.states = ConnectionStates(self.connections, clock)
        self.database = DatabaseThread("gateway")
        self.missed_events = MissedEvents(self.database)
        self._seen: FIFOCache[str, None] = FIFOCache(SEEN)
        # Events are dispatched one after another, from the layer and from the inbox.
        self._dispatching = asyncio.Lock()
        self._tasks = start_tasks(self)

    async def ready(self) -> None:
        """Wait until the offers are loaded, and no event is missed from now on."""
        await self._tasks.ready()

    def join(self, connection: BrowserConnection) -> None:
        """Add a connection."""
        self.connections[connection] = None

    async def leave(self, connection: BrowserConnection) -> None:
        """Remove a connection and end its subscriptions; the last one closes the hub."""
        if connection not in self.connections:
            return
        del self.connections[connection]
        for subscription in list(connection.subscriptions.values()):
            subscription.end()
        if not self.connections:
            await self._close()

    async def open_topic(self, offer: Offer) -> Topic:
        """Return the topic of an offer, whose events are received from now on."""
        topic = self.topics.get(offer.name)
        if topic is None or topic.offer.fingerprint != offer.fingerprint:
            topic = self.topics[offer.name] = Topic(offer)
        await self.subscriber.join(offer.group)
        await self.subscriber.join(connection_group_name(offer.connection))
        return topic

    def close_topic(self, topic: Topic) -> None:
        """Remove a topic without subscriptions."""
        if self.topics.get(topic.offer.name) is topic:
            del self.topics[topic.offer.name]
        self.first_loads.forget(topic)
        if topic.offer.group not in {other.offer.group for other in self.topics.values()}:
            self.subscriber.leave(topic.offer.group)

    def has_seen(self, event_id: str) -> bool:
        """Return whether an event was received."""
        return event_id in self._seen

    async def receive(self, message: Json) -> None:
        """Dispatch a group message; an invalid one is logged."""
        try:
            if message.get("type") == "directus.event":
                await self._dispatch(message)
            elif message.get("type") == "directus.connection":
                self.states.receive(message["connection"], message["state"])
        except Exception:
            logger.exception("group-message-failed", "A group message could not be handed over.")

    async def _dispatch(self, message: Json) -> None:
        """Deliver an event to the browsers that may see it, unless it was received before."""
        async with self._dispatching:
            if self.has_seen(message["id"]):
                return
            self._seen[message["id"]] = None
            topic = self.topics.get(message["subscription"])
            if topic is not None and _is_of(message, topic.offer):
                change = topic.record(message)
                self.first_loads.follow(topic, change)
                await self._deliver(topic, change)

    async def _deliver(self, topic: Topic, change: TopicChange) -> None:
        # The recipients are determined before the first pause: browsers that subscribe later
        # get the event with their first load, or among their missed events.
        count = 0
        for frame, subscriptions in topic.deliveries(change):
            for subscription in subscriptions:
                if subscription.is_active:
                    subscription.connection.deliver(frame)
                count += 1
                if count % _CHUNK == 0:
                    await self.clock.sleep(0)

    async def _close(self) -> None:
        await self._tasks.aclose()
        await self.first_loads.aclose()
        await self.missed_events.aclose()
        await self.subscriber.aclose()
        self.database.close_soon()


def _is_of(message: Json, offer: Offer) -> bool:
    """Return whether an event belongs to an offer, and not to the subscription's former query."""
    return bool(
        message["connection"] == offer.connection and message["collection"] == offer.collection
    )


class ConnectionStates:
    """States of the Directus connections, as sent to browsers.

    Args:
        connections: The connected browsers.
        clock: Clock of the hub.
    """

    def __init__(self, connections: Iterable[BrowserConnection], clock: SystemClock) -> None:
        self._connections = connections
        self._clock = clock
        self._states: dict[str, str] = {}
        self._received_at: dict[str, float] = {}

    def subscribe(self, connection: BrowserConnection, alias: str) -> None:
        """Send a browser the state of a connection, now and whenever it changes."""
        if alias not in connection.aliases:
            connection.aliases |= {alias}
            connection.deliver(self._frame(alias))

    def receive(self, alias: str, state: str) -> None:
        """Update a state from a group message."""
        self._received_at[alias] = self._clock.monotonic()
        self._change(alias, state)

    def update(self, states: Mapping[str, str]) -> None:
        """Update the states from the table.

        The table is a moment behind the group messages, so that those outrank it for a while;
        but no group message is sent when a listener dies.
        """
        now = self._clock.monotonic()
        for alias, state in states.items():
            if now - self._received_at.get(alias, -_AHEAD) >= _AHEAD:
                self._change(alias, state)

    def _change(self, alias: str, state: str) -> None:
        if self._states.get(alias) == state:
            return
        self._states[alias] = state
        frame = self._frame(alias)
        for connection in list(self._connections):
            if alias in connection.aliases:
                connection.deliver(frame)

    def _frame(self, alias: str) -> Frame:
        state = self._states.get(alias, "disconnected")
        return Frame(frames.encode(frames.connection(alias, state)))
