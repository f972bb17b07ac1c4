"""Regular recheck of granted access: withdrawn offers, lost permissions, ended sessions."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from directus_realtime.database import in_bulk
from directus_realtime.gateway import frames
from directus_realtime.gateway.access import NOT_OFFERED, grant
from directus_realtime.gateway.browser_query import QueryRefused
from directus_realtime.gateway.browser_view import BrowserView
from directus_realtime.gateway.offers import Offer, load_offers
from directus_realtime.gateway.state_broadcast import read_states
from directus_realtime.gateway.subscription_requests import end
from directus_realtime.gateway.topics import BrowserSubscription

if TYPE_CHECKING:
    from directus_realtime.gateway.browser_connections import BrowserConnection
    from directus_realtime.gateway.hub import Hub


def unwrapped(value: Any) -> Any:
    """What Channels put behind a lazy object."""
    return getattr(value, "_wrapped", value)


def is_signed_in(session: Any) -> bool:
    """Whether somebody signed in with a session; ``None`` where there is none."""
    return session is not None and SESSION_KEY in session


def ended_sessions(sessions: Iterable[Any]) -> set[str | None]:
    """Keys of those that are gone: signed out, or over.

    Only sessions in the database can be asked for; uses it.
    """
    kept = [each for each in map(unwrapped, sessions) if isinstance(each, SessionStore)]
    if not kept:
        return set()
    keys = {session.session_key for session in kept}
    rows = kept[0].model.objects.filter(pk__in=keys, expire_date__gt=timezone.now())
    return keys - set(rows.values_list("pk", flat=True))


def has_same_password(session: Any, user: Any) -> bool:
    """Whether the session was made with the user's password, as Django checks it."""
    made_with = session.get(HASH_SESSION_KEY) or ""
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(made_with, current) for current in hashes)


def still_stands_for(session: Any, user: Any) -> bool:
    """Whether a session still says that a browser is a user; uses the database.

    One that nobody signed in with has no say: a middleware of the site has.
    """
    if not is_signed_in(session):
        return True
    return not ended_sessions([session]) and has_same_password(session, user)


logger = logging.getLogger("directus_realtime.gateway")

#: Users that are looked at before others get a turn.
_CHUNK = 100
#: Looks at the offers for which one that nobody wants is kept ready.
_KEPT = 15

WITHDRAWN = "The subscription was changed or withdrawn; subscribe again."


async def look_at_offers(hub: Hub) -> None:
    """End the subscriptions to what is not offered any more, or differently."""
    offers, states = await hub.database.run_with_retry(_read)
    hub.offers = {offer.name: offer for offer in offers}
    hub.states.read(states)
    for stream in list(hub.streams.values()):
        offer = hub.offers.get(stream.offer.name)
        if offer is None or offer.fingerprint != stream.offer.fingerprint:
            for subscription in list(stream):
                end(subscription, frames.FORBIDDEN, WITHDRAWN)
            hub.close_stream(stream)
        elif stream.is_wanted:
            stream.idle_looks = 0
        else:
            stream.idle_looks += 1
            if stream.idle_looks > _KEPT:
                hub.close_stream(stream)


async def look_at_users(hub: Hub) -> None:
    """End what users may not have any more, and change what they may see of the rest."""
    members = [member for member in hub.members if _can_change(member)]
    for start in range(0, len(members), _CHUNK):
        await recheck(hub, members[start : start + _CHUNK])


def _can_change(member: BrowserConnection) -> bool:
    """Whether the database or the site may say something else of a browser than before."""
    if isinstance(unwrapped(member.user), get_user_model()):
        return True
    # Nobody, or whoever a site knows by its tokens.
    return any(each.stream.offer.asks_site for each in member.subscriptions.values())


async def recheck(hub: Hub, members: Sequence[BrowserConnection]) -> None:
    """Decide anew about all subscriptions of some browsers."""
    offers = list(hub.offers.values())
    wanted = [(member, list(member.subscriptions.values())) for member in members]
    overlooked: list[BrowserConnection] = []
    for decided in await hub.database.run_with_retry(_decide, offers, wanted):
        member = decided.member
        if member.user is not decided.before:
            continue  # somebody else by now, who was looked at for it
        member.user = decided.user
        _apply(decided.views)
        begun = set(member.subscriptions.values()) - {each for each, _ in decided.views}
        if begun and decided.user != decided.before:
            overlooked.append(member)
    if overlooked:  # nobody looks again at who is no user any more
        await recheck(hub, overlooked)


@dataclass(frozen=True)
class _Decided:
    member: BrowserConnection
    before: Any
    user: Any
    views: list[tuple[BrowserSubscription, BrowserView | None]]


def _apply(views: Iterable[tuple[BrowserSubscription, BrowserView | None]]) -> None:
    for subscription, view in views:
        if not subscription.is_active:
            continue
        if view is None:
            end(subscription, frames.FORBIDDEN, NOT_OFFERED)
        elif view.key != subscription.view.key:
            subscription.stream.change_view(subscription, view)


def _read() -> tuple[list[Offer], dict[str, str]]:
    return load_offers(), read_states()


def _decide(
    offers: list[Offer], wanted: list[tuple[BrowserConnection, list[BrowserSubscription]]]
) -> list[_Decided]:
    before = {member: member.user for member, _ in wanted}
    users = _current_users(before)
    return [
        _Decided(
            member,
            before[member],
            users[member],
            [(each, _view(offers, each, users[member])) for each in asked],
        )
        for member, asked in wanted
    ]


def _view(offers: list[Offer], subscription: BrowserSubscription, user: Any) -> BrowserView | None:
    """What a subscription sees now; of the same offer, or nothing."""
    offer = [offer for offer in offers if offer.name == subscription.stream.offer.name]
    try:
        return grant(offer, subscription.asked, user)
    except QueryRefused:
        return None
    except Exception:  # of a function of the site
        logger.exception(
            "It cannot be decided who may have %s.",
            subscription.stream.offer.name,
            extra={"event": "offer-undecided", "offer": subscription.stream.offer.name},
        )
        return None


def _current_users(before: Mapping[BrowserConnection, Any]) -> dict[BrowserConnection, Any]:
    """The users as they are now; nobody for those who may not sign in, or have signed out."""
    model = get_user_model()
    own = {member: unwrapped(user) for member, user in before.items()}
    keys = {user.pk for user in own.values() if isinstance(user, model)}
    users = in_bulk(model._default_manager.all(), keys)
    ended = ended_sessions(member.session for member in before if _is_by_session(member))
    found: dict[BrowserConnection, Any] = {}
    for member, user in own.items():
        if not isinstance(user, model):
            found[member] = user
            continue
        current = users.get(user.pk)
        is_in = current is not None and current.is_active and _is_still_in(member, current, ended)
        found[member] = current if is_in else AnonymousUser()
    return found


def _is_still_in(member: BrowserConnection, user: Any, ended: set[str | None]) -> bool:
    if not _is_by_session(member):
        return True
    return member.session.session_key not in ended and has_same_password(member.session, user)


def _is_by_session(member: BrowserConnection) -> bool:
    """Whether Django's session says who it is, and not a token or a middleware of the site."""
    return not member.authenticated and is_signed_in(member.session)
