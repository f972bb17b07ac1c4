"""Gives a browser a subscription: what it has first, and that nothing is missing after it."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass
from time import thread_time
from typing import TYPE_CHECKING, Any

from directus_realtime.database import DATABASE_IS_AWAY
from directus_realtime.gateway import frames
from directus_realtime.gateway.access import grant
from directus_realtime.gateway.browser_query import QueryRefused, Subscribe
from directus_realtime.gateway.browser_view import BrowserView
from directus_realtime.gateway.first_load import CannotLoad
from directus_realtime.gateway.frames import Frame, Json, with_uid
from directus_realtime.gateway.topics import BrowserSubscription, Topic, TopicChange

if TYPE_CHECKING:
    from directus_realtime.gateway.browser_connections import BrowserConnection
    from directus_realtime.gateway.hub import Hub

logger = logging.getLogger("directus_realtime.gateway")

#: How often it is tried again when the offer, or the user, changes meanwhile.
_TRIES = 3

_nameless = itertools.count()


async def subscribe(hub: Hub, member: BrowserConnection, asked: Subscribe) -> float:
    """Have a browser get what it asks for, or tell it why not.

    A uid that is in use is given up first, also when the new subscription is refused then; so
    does Directus.

    Returns:
        Seconds for which it kept all other browsers waiting.
    """
    if asked.uid is not None and (known := member.subscriptions.get(asked.uid)):
        known.end()
    try:
        return await _subscribe(hub, member, asked)
    except QueryRefused as refused:
        error = frames.error("subscribe", refused.code, refused.message)
    except CannotLoad as problem:
        logger.warning(
            "%s.", problem, extra={"event": "first-load-unreadable", "collection": asked.collection}
        )
        error = _unavailable("The items cannot be read at the moment; subscribe again later.")
    except DATABASE_IS_AWAY as problem:
        logger.warning(
            "A browser could not subscribe: %s",
            type(problem).__name__,
            extra={"event": "subscribe-failed", "collection": asked.collection},
        )
        error = _unavailable("The database is away at the moment; subscribe again later.")
    except Exception:  # of a function of the site, for example
        logger.exception(
            "A browser could not subscribe.",
            extra={"event": "subscribe-failed", "collection": asked.collection},
        )
        error = frames.error(
            "subscribe", frames.INTERNAL_SERVER_ERROR, "The subscription could not be made."
        )
    member.say(with_uid(error, asked.uid))
    return 0.0


def end(subscription: BrowserSubscription, code: str, message: str) -> None:
    """End a subscription, and tell its browser why."""
    subscription.end()
    error = frames.error("subscribe", code, message)
    subscription.member.say(with_uid(error, subscription.asked.uid))


async def _subscribe(hub: Hub, member: BrowserConnection, asked: Subscribe) -> float:
    if len(member.subscriptions) >= member.limits.max_subscriptions:
        most = member.limits.max_subscriptions
        raise QueryRefused(
            frames.LIMIT_EXCEEDED, f"A browser may have {most} subscriptions; end some first."
        )
    await hub.ready()
    for _ in range(_TRIES):
        offers, user = list(hub.offers.values()), member.user
        view = await hub.database.run(grant, offers, asked, user)
        offer = hub.offers.get(view.offer_name)
        if offer is None or offer.fingerprint != view.fingerprint:
            continue
        stream = await hub.open_stream(offer)
        stream.visits += 1
        try:
            beginning = await _beginning(hub, stream, asked, view)
        finally:
            stream.visits -= 1
        # Nothing is awaited from here on, so no event falls in between.
        if hub.streams.get(offer.name) is stream and member.user == user:
            began = thread_time()
            if member.closing is None:
                _start(hub, member, asked, stream, view, beginning)
            return thread_time() - began
    raise CannotLoad(f"What {asked.collection!r} offers changes all the time")


@dataclass(frozen=True)
class _Beginning:
    """What a subscription begins with.

    Attributes:
        has_data: Whether items are sent.
        resumes: Whether missed events were asked for.
        changes: Those that were missed before this process began to remember; ``None`` where
            it is not known what was missed.
        ids: The ids of those.
        number: Of the last event that is not among what this process remembers.
    """

    has_data: bool = False
    resumes: bool = False
    changes: list[TopicChange] | None = None
    number: int = 0


async def _beginning(hub: Hub, stream: Topic, asked: Subscribe, view: BrowserView) -> _Beginning:
    event_id = asked.last_event_id
    if event_id is not None:
        number = stream.number_of(event_id)
        if number is not None:
            return _Beginning(resumes=True, changes=[], number=number)
        missed = await hub.returns.get(stream, event_id)
        if missed is not None:
            return _Beginning(resumes=True, changes=missed.changes, number=missed.number)
    if asked.wants_data and stream.offer.first_load:
        await hub.loads.get(stream)
    return _Beginning(has_data=asked.wants_data, resumes=event_id is not None)


def _start(
    hub: Hub,
    member: BrowserConnection,
    asked: Subscribe,
    stream: Topic,
    view: BrowserView,
    beginning: _Beginning,
) -> None:
    name = next(_nameless) if asked.uid is None else asked.uid
    subscription = BrowserSubscription(member, name, asked, stream, view)
    member.subscriptions[name] = subscription
    missed = _all_missed(stream, beginning)
    if missed is not None:
        member.say(with_uid(frames.started(None, resumed=True), asked.uid))
        for change in missed:
            if text := subscription.show(change):
                member.deliver(Frame(text + subscription.suffix))
    else:
        resumed = False if beginning.resumes else None
        message = _init(hub, subscription) if beginning.has_data else frames.started(None)
        if resumed is not None:
            message["resumed"] = resumed
        member.say(with_uid(message, asked.uid))
    stream.add(subscription)
    hub.states.tell(member, stream.offer.connection)


def _all_missed(stream: Topic, beginning: _Beginning) -> list[TopicChange] | None:
    if beginning.changes is None:
        return None
    known = {change.event_id for change in beginning.changes}
    remembered = stream.after(beginning.number)
    return [*beginning.changes, *(c for c in remembered if c.event_id not in known)]


def _init(hub: Hub, subscription: BrowserSubscription) -> Json:
    load = hub.loads.current(subscription.stream)
    if load is None:
        data: list[Any] = []
    else:
        data = subscription.view.select(load.rows, load.primary_key)
    complete = load is not None and load.is_all
    if subscription.is_single:
        return frames.started(data[0] if data else None, complete=complete)
    return frames.started(data, complete=complete)


def _unavailable(message: str) -> Json:
    return frames.error("subscribe", frames.SERVICE_UNAVAILABLE, message)
