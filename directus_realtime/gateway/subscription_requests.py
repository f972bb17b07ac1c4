"""Requests of browsers for a subscription, and its first messages."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from time import thread_time

from directus_realtime.database import DATABASE_IS_AWAY
from directus_realtime.gateway import frames
from directus_realtime.gateway.access import grant
from directus_realtime.gateway.browser_connections import BrowserConnection
from directus_realtime.gateway.browser_query import QueryRefused, SubscribeRequest
from directus_realtime.gateway.browser_view import BrowserView
from directus_realtime.gateway.first_load import CannotLoad
from directus_realtime.gateway.frames import Frame, Json, with_uid
from directus_realtime.gateway.hub import Hub
from directus_realtime.gateway.topics import BrowserSubscription, Topic, TopicChange
from directus_realtime.utils.logs import EventLogger

logger = EventLogger("directus_realtime.gateway")

#: Attempts while the offer, or the user, changes in the meantime.
_ATTEMPTS = 3

_numbers = itertools.count()


async def subscribe(hub: Hub, connection: BrowserConnection, request: SubscribeRequest) -> float:
    """Subscribe a browser, or send it the error.

    A subscription with the same uid ends first, also if the new one is then refused; so it
    does in Directus.

    Returns:
        Seconds for which it blocked the event loop.
    """
    if request.uid is not None and (existing := connection.subscriptions.get(request.uid)):
        existing.end()
    try:
        return await _subscribe(hub, connection, request)
    except QueryRefused as refused:
        error = frames.error("subscribe", refused.code, refused.message)
    except CannotLoad as problem:
        logger.warning("first-load-unreadable", "%s.", problem, collection=request.collection)
        error = _unavailable("The items cannot be read at the moment; subscribe again later.")
    except DATABASE_IS_AWAY as problem:
        logger.warning(
            "subscribe-failed",
            "A browser could not subscribe: %s",
            type(problem).__name__,
            collection=request.collection,
        )
        error = _unavailable("The database is away at the moment; subscribe again later.")
    except Exception:  # of a function of the site, for example
        logger.exception(
            "subscribe-failed", "A browser could not subscribe.", collection=request.collection
        )
        error = frames.error(
            "subscribe", frames.INTERNAL_SERVER_ERROR, "The subscription could not be made."
        )
    connection.send_message(with_uid(error, request.uid))
    return 0.0


async def _subscribe(hub: Hub, connection: BrowserConnection, request: SubscribeRequest) -> float:
    most = connection.limits.max_subscriptions
    if len(connection.subscriptions) >= most:
        raise QueryRefused(
            frames.LIMIT_EXCEEDED, f"A browser may have {most} subscriptions; end some first."
        )
    await hub.ready()
    for _ in range(_ATTEMPTS):
        offers, user = list(hub.offers.values()), connection.user
        view = await hub.database.run(grant, offers, request, user)
        offer = hub.offers.get(view.offer_name)
        if offer is None or offer.fingerprint != view.fingerprint:
            continue
        topic = await hub.open_topic(offer)
        topic.pending += 1
        try:
            beginning = await _prepare(hub, topic, request)
        finally:
            topic.pending -= 1
        # Nothing is awaited from here on, so no event falls in between.
        if hub.topics.get(offer.name) is topic and connection.user == user:
            began = thread_time()
            if connection.closing is None:
                _start(hub, connection, request, topic, view, beginning)
            return thread_time() - began
    raise CannotLoad(f"What {request.collection!r} offers changes all the time")


@dataclass(frozen=True)
class _Beginning:
    """The first messages of a subscription.

    Attributes:
        missed: Missed events that are older than the memory of the topic; ``None`` if the
            missed events are unknown.
        number: Number of the topic's event before the first one that is added to those.
    """

    missed: list[TopicChange] | None = None
    number: int = 0


async def _prepare(hub: Hub, topic: Topic, request: SubscribeRequest) -> _Beginning:
    """Read the missed events of a subscription, or its first load."""
    event_id = request.last_event_id
    if event_id is not None:
        number = topic.number_of(event_id)
        if number is not None:
            return _Beginning([], number)
        missed = await hub.missed_events.get(topic, event_id)
        if missed is not None:
            return _Beginning(missed.changes, missed.number)
    if request.wants_data and topic.offer.first_load:
        await hub.first_loads.get(topic)
    return _Beginning()


def _start(
    hub: Hub,
    connection: BrowserConnection,
    request: SubscribeRequest,
    topic: Topic,
    view: BrowserView,
    beginning: _Beginning,
) -> None:
    name = next(_numbers) if request.uid is None else request.uid
    subscription = BrowserSubscription(connection, name, request, topic, view)
    connection.subscriptions[name] = subscription
    if beginning.missed is not None:
        connection.send_message(with_uid(frames.started(None, resumed=True), request.uid))
        known = {change.event_id for change in beginning.missed}
        recent = (each for each in topic.after(beginning.number) if each.event_id not in known)
        for change in (*beginning.missed, *recent):
            if text := subscription.show(change):
                connection.deliver(Frame(text + subscription.suffix))
    else:
        message = _init(hub, subscription) if request.wants_data else frames.started(None)
        if request.last_event_id is not None:
            message["resumed"] = False
        connection.send_message(with_uid(message, request.uid))
    topic.add(subscription)
    hub.states.subscribe(connection, topic.offer.connection)


def _init(hub: Hub, subscription: BrowserSubscription) -> Json:
    load = hub.first_loads.current(subscription.topic)
    data = [] if load is None else subscription.view.select(load.rows, load.primary_key)
    complete = load is not None and load.is_all
    if subscription.is_single:
        return frames.started(data[0] if data else None, complete=complete)
    return frames.started(data, complete=complete)


def _unavailable(message: str) -> Json:
    return frames.error("subscribe", frames.SERVICE_UNAVAILABLE, message)
