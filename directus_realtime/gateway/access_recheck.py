"""Regular recheck of granted access: withdrawn offers, lost permissions, ended sessions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.utils.crypto import constant_time_compare

from directus_realtime.database import in_bulk
from directus_realtime.gateway import frames
from directus_realtime.gateway.access import NOT_OFFERED, grant
from directus_realtime.gateway.browser_connections import BrowserConnection
from directus_realtime.gateway.browser_query import QueryRefused
from directus_realtime.gateway.browser_view import BrowserView
from directus_realtime.gateway.hub import Hub
from directus_realtime.gateway.offers import Offer, load_offers
from directus_realtime.gateway.topics import BrowserSubscription
from directus_realtime.models import ConnectionStatus
from directus_realtime.utils.logs import EventLogger

logger = EventLogger("directus_realtime.gateway")

#: Users of one recheck; other database work runs between two.
_CHUNK = 100
#: Checks of the offers for which a topic without subscriptions is kept ready.
_KEPT = 15

WITHDRAWN = "The subscription was changed or withdrawn; subscribe again."


async def refresh_offers(hub: Hub) -> None:
    """Load offers and connection states; end the subscriptions to offers that have changed."""
    offers, states = await hub.database.run_with_retry(_load)
    hub.offers = {offer.name: offer for offer in offers}
    hub.states.update(states)
    for topic in list(hub.topics.values()):
        offer = hub.offers.get(topic.offer.name)
        if offer is None or offer.fingerprint != topic.offer.fingerprint:
            for subscription in list(topic):
                subscription.end_with_error(frames.FORBIDDEN, WITHDRAWN)
            hub.close_topic(topic)
        elif topic.is_in_use:
            topic.idle_checks = 0
        else:
            topic.idle_checks += 1
            if topic.idle_checks > _KEPT:
                hub.close_topic(topic)


async def recheck_users(hub: Hub) -> None:
    """Recheck all connections whose access may have changed."""
    connections = [each for each in hub.connections if _can_change(each)]
    for start in range(0, len(connections), _CHUNK):
        await recheck(hub, connections[start : start + _CHUNK])


def _can_change(connection: BrowserConnection) -> bool:
    """Return whether the database or a function of the site may decide differently now."""
    if isinstance(unwrapped(connection.user), get_user_model()):
        return True
    # Anonymous, or a user type of the site.
    return any(each.topic.offer.asks_site for each in connection.subscriptions.values())


async def recheck(hub: Hub, connections: Sequence[BrowserConnection]) -> None:
    """Grant all subscriptions of some connections again: end them, or replace their views."""
    offers = list(hub.offers.values())
    requested = [(each, list(each.subscriptions.values())) for each in connections]
    unchecked: list[BrowserConnection] = []
    now = hub.clock.now()
    for decision in await hub.database.run_with_retry(_decide, offers, requested, now):
        connection = decision.connection
        if connection.user is not decision.before:
            continue  # another user authenticated meanwhile, and was checked then
        connection.user = decision.user
        _apply(decision.views)
        checked = {each for each, _ in decision.views}
        if decision.user != decision.before and set(connection.subscriptions.values()) - checked:
            unchecked.append(connection)
    if unchecked:  # anonymous clients are never rechecked, so do it now
        await recheck(hub, unchecked)


@dataclass(frozen=True)
class _Decision:
    connection: BrowserConnection
    before: Any
    user: Any
    views: list[tuple[BrowserSubscription, BrowserView | None]]


def _apply(views: Iterable[tuple[BrowserSubscription, BrowserView | None]]) -> None:
    for subscription, view in views:
        if not subscription.is_active:
            continue
        if view is None:
            subscription.end_with_error(frames.FORBIDDEN, NOT_OFFERED)
        elif view.key != subscription.view.key:
            subscription.topic.change_view(subscription, view)


def _load() -> tuple[list[Offer], dict[str, str]]:
    states = {status.alias: status.current_state for status in ConnectionStatus.objects.all()}
    return load_offers(), states


def _decide(
    offers: list[Offer],
    requested: list[tuple[BrowserConnection, list[BrowserSubscription]]],
    now: datetime,
) -> list[_Decision]:
    before = {connection: connection.user for connection, _ in requested}
    users = _current_users(before, now)
    return [
        _Decision(
            connection,
            before[connection],
            users[connection],
            [(each, _view(offers, each, users[connection])) for each in subscriptions],
        )
        for connection, subscriptions in requested
    ]


def _view(offers: list[Offer], subscription: BrowserSubscription, user: Any) -> BrowserView | None:
    """Return the current view of a subscription to the same offer; ``None`` if not granted."""
    name = subscription.topic.offer.name
    try:
        return grant([each for each in offers if each.name == name], subscription.request, user)
    except QueryRefused:
        return None
    except Exception:  # of a function of the site
        logger.exception(
            "offer-undecided", "It cannot be decided who may have %s.", name, offer=name
        )
        return None


def _current_users(
    before: Mapping[BrowserConnection, Any], now: datetime
) -> dict[BrowserConnection, Any]:
    """Load the users; anonymous if a user is inactive, deleted or signed out."""
    model = get_user_model()
    own = {connection: unwrapped(user) for connection, user in before.items()}
    keys = {user.pk for user in own.values() if isinstance(user, model)}
    users = in_bulk(model._default_manager.all(), keys)
    ended = ended_sessions((each.session for each in before if _is_by_session(each)), now)
    found: dict[BrowserConnection, Any] = {}
    for connection, user in own.items():
        if not isinstance(user, model):
            found[connection] = user
            continue
        current = users.get(user.pk)
        is_in = (
            current is not None and current.is_active and _is_signed_in(connection, current, ended)
        )
        found[connection] = current if is_in else AnonymousUser()
    return found


def _is_signed_in(connection: BrowserConnection, user: Any, ended: set[str | None]) -> bool:
    session = connection.session
    if not _is_by_session(connection):
        return True
    return session.session_key not in ended and has_same_password(session, user)


def _is_by_session(connection: BrowserConnection) -> bool:
    """Return whether Django's session, and no token or middleware, identifies the user."""
    return not connection.authenticated and is_signed_in(connection.session)


# Sessions


def unwrapped(value: Any) -> Any:
    """Return the value of a lazy object of Channels."""
    return getattr(value, "_wrapped", value)


def is_signed_in(session: Any) -> bool:
    """Return whether a user has signed in with a session, if there is one."""
    return session is not None and SESSION_KEY in session


def ended_sessions(sessions: Iterable[Any], now: datetime) -> set[str | None]:
    """Return the keys of sessions that are deleted (signed out) or expired.

    Only sessions in the database can be checked; uses it.
    """
    kept = [each for each in map(unwrapped, sessions) if isinstance(each, SessionStore)]
    if not kept:
        return set()
    keys = {session.session_key for session in kept}
    rows = kept[0].model.objects.filter(pk__in=keys, expire_date__gt=now)
    return keys - set(rows.values_list("pk", flat=True))


def has_same_password(session: Any, user: Any) -> bool:
    """Return whether the session was made with the user's password, as Django checks it."""
    made_with = session.get(HASH_SESSION_KEY) or ""
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(made_with, current) for current in hashes)


def is_session_valid(session: Any, user: Any, now: datetime) -> bool:
    """Return whether a session still identifies a user; uses the database.

    A session without sign-in does not matter: a middleware of the site identifies the user.
    """
    if not is_signed_in(session):
        return True
    return not ended_sessions([session], now) and has_same_password(session, user)
