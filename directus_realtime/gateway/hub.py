"""The hub: one subscriber to the channel layer for all browsers of a process.

A group message arrives once in a process, is evaluated once for each distinct view, and is
encoded once; each browser only receives the text.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable
from time import monotonic
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from directus_realtime.database import DatabaseThread
from directus_realtime.gateway.first_load import FirstLoads
from directus_realtime.gateway.frames import Json
from directus_realtime.gateway.group_subscriber import GroupSubscriber
from directus_realtime.gateway.missed_events import MissedEvents
from directus_realtime.gateway.offers import Offer
from directus_realtime.gateway.state_broadcast import StateBroadcast
from directus_realtime.gateway.topics import Topic, TopicChange
from directus_realtime.groups import connection_group_name

if TYPE_CHECKING:
    from directus_realtime.gateway.browser_connections import BrowserConnection

logger = logging.getLogger("directus_realtime.gateway")

#: Seconds between two looks.
INTERVAL = 1.0
#: Browsers that are looked at before others get a turn.
_PINGS_AT_ONCE = 1000


async def beat(members: Iterable[BrowserConnection]) -> None:
    """Have each browser pinged when it is time to, and those dropped that do not answer."""
    while True:
        await asyncio.sleep(INTERVAL)
        now = monotonic()
        for count, member in enumerate(list(members), 1):
            _tick(member, now)
            if count % _PINGS_AT_ONCE == 0:
                await asyncio.sleep(0)


def _tick(member: BrowserConnection, now: float) -> None:
    try:
        member.tick(now)
    except Exception:  # of one browser: the others are pinged all the same
        logger.exception("A browser could not be pinged.", extra={"event": "chore-failed"})


#: Events whose ids are remembered, so that one that comes twice is handed on once.
SEEN = 20_000
#: Browsers that are handed a frame before others get a turn.
_CHUNK = 500


class Hub:
    """Hands events to the browsers of one event loop; lives as long as there are any.

    Attributes:
        members: The browsers.
        offers: What is offered, by name.
        streams: The events of those offers that anybody subscribes to, by name.
        loads: First loads.
        returns: What browsers have missed that come back.
        layer: The place in the channel layer.
        states: The connections' states.
        database: The thread for everything that uses the database.
    """

    def __init__(self) -> None:
        from directus_realtime.gateway.hub_tasks import HubTasks

        self.members: dict[BrowserConnection, None] = {}
        self.offers: dict[str, Offer] = {}
        self.streams: dict[str, Topic] = {}
        self.loads = FirstLoads()
        self.layer = GroupSubscriber(self.receive)
        self.states = StateBroadcast(self.members)
        self.database = DatabaseThread("gateway")
        self.returns = MissedEvents(self.database)
        self._seen: OrderedDict[str, None] = OrderedDict()
        # Events are handed over one after another, whichever way they come.
        self._turn = asyncio.Lock()
        self._chores = HubTasks(self)
        self._tasks = [
            asyncio.create_task(beat(self.members), name="directus-gateway-heartbeat"),
            asyncio.create_task(self.layer.tend(), name="directus-gateway-layer"),
        ]

    async def ready(self) -> None:
        """Wait until the offers are known, and nothing is missed from now on."""
        await self._chores.ready()

    def join(self, member: BrowserConnection) -> None:
        """A browser has come."""
        self.members[member] = None

    async def leave(self, member: BrowserConnection) -> None:
        """A browser has gone."""
        if member not in self.members:
            return
        del self.members[member]
        for subscription in list(member.subscriptions.values()):
            subscription.end()
        if not self.members:
            await self._end()

    async def open_stream(self, offer: Offer) -> Topic:
        """The events of an offer; from now on they arrive."""
        stream = self.streams.get(offer.name)
        if stream is None or stream.offer.fingerprint != offer.fingerprint:
            stream = self.streams[offer.name] = Topic(offer)
        await self.layer.join(offer.group)
        await self.layer.join(connection_group_name(offer.connection))
        return stream

    def close_stream(self, stream: Topic) -> None:
        """Nobody wants the events of an offer any more."""
        if self.streams.get(stream.offer.name) is stream:
            del self.streams[stream.offer.name]
        self.loads.forget(stream)
        if stream.offer.group not in {other.offer.group for other in self.streams.values()}:
            self.layer.leave(stream.offer.group)

    async def hand_over(self, message: Json) -> None:
        """Hand an event to the browsers that may see it, unless it came already."""
        async with self._turn:
            if not self.note(message["id"]):
                return
            stream = self.streams.get(message["subscription"])
            if stream is not None and _is_of(message, stream.offer):
                change = stream.take(message)
                self.loads.follow(stream, change)
                await _deliver(stream, change)

    def has_seen(self, event_id: str) -> bool:
        """Whether an event has arrived."""
        return event_id in self._seen

    def note(self, event_id: str) -> bool:
        """Note that an event has arrived; False where it had already."""
        if event_id in self._seen:
            return False
        self._seen[event_id] = None
        if len(self._seen) > SEEN:
            self._seen.popitem(last=False)
        return True

    async def receive(self, message: Json) -> None:
        """Take a group message; one that is not as it should be harms no other."""
        try:
            if message.get("type") == "directus.event":
                await self.hand_over(message)
            elif message.get("type") == "directus.connection":
                self.states.heard(message["connection"], message["state"])
        except Exception:
            logger.exception(
                "A group message could not be handed over.", extra={"event": "group-message-failed"}
            )

    async def _end(self) -> None:
        loop = asyncio.get_running_loop()
        if _hubs.get(loop) is self:
            del _hubs[loop]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._chores.aclose()
        await self.loads.aclose()
        await self.returns.aclose()
        await self.layer.aclose()
        self.database.close_soon()


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def current_hub() -> Hub:
    """The hub of the running loop; join it before the next ``await``."""
    loop = asyncio.get_running_loop()
    hub = _hubs.get(loop)
    if hub is None:
        hub = _hubs[loop] = Hub()
    return hub


def _is_of(message: Json, offer: Offer) -> bool:
    """Whether an event is of what is offered, and not of what its subscription once had."""
    return bool(
        message["connection"] == offer.connection and message["collection"] == offer.collection
    )


async def _deliver(stream: Topic, change: TopicChange) -> None:
    # Who is to get it is settled before the first pause: those who come meanwhile are given
    # it with their first load, or among what they missed.
    handed = 0
    for frame, subscriptions in stream.deliveries(change):
        for subscription in subscriptions:
            if subscription.is_active:
                subscription.member.deliver(frame)
            handed += 1
            if handed % _CHUNK == 0:
                await asyncio.sleep(0)
