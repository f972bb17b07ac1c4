"""Who may have what of an offer: it is decided when a browser subscribes, and never widened."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import AnonymousUser

from directus_realtime.exceptions import QueryRefused
from directus_realtime.gateway.bounds import check_browser, within
from directus_realtime.gateway.functions import NotAllowed, ask_function, call, rows_of
from directus_realtime.gateway.offers import Offer
from directus_realtime.gateway.projection import field_tree
from directus_realtime.gateway.queries import BrowserQuery, Subscribe
from directus_realtime.gateway.views import View
from directus_realtime.protocol.queries import Filter
from directus_realtime.settings import DEFAULT_ALIAS

logger = logging.getLogger("directus_realtime.gateway")

#: One sentence for what does not exist and what is not allowed, so that nobody can tell.
NOT_OFFERED = "This collection does not exist, or it is not offered to you."


def grant(offers: Iterable[Offer], subscribe: Subscribe, user: Any) -> View:
    """What a browser sees; the first offer that it may have is taken.

    Functions of declared subscriptions are called, so this belongs into a thread.

    Args:
        offers: All that there are.
        subscribe: What the browser asks for, by the name of an offer or by a collection.
        user: Of Django, or whatever ``authenticate`` returned; ``None`` for nobody.

    Raises:
        QueryRefused: ``FORBIDDEN`` where nothing is offered, and to what is not; else
            ``INVALID_QUERY``.
    """
    refusal = QueryRefused("FORBIDDEN", NOT_OFFERED)
    for offer in _candidates(offers, subscribe.collection):
        try:
            return _grant(offer, subscribe.query, AnonymousUser() if user is None else user)
        except NotAllowed:
            continue
        except QueryRefused as error:
            refusal = error  # of an offer that the user may have, so it gives nothing away
    raise refusal


def _candidates(offers: Iterable[Offer], wanted: str) -> list[Offer]:
    """The offer of that name first, then those of the default connection's collection."""
    found = [
        offer
        for offer in offers
        if offer.name == wanted
        or (offer.collection == wanted and offer.connection == DEFAULT_ALIAS)
    ]
    return sorted(found, key=lambda offer: (offer.name != wanted, offer.name))


def _grant(offer: Offer, asked: BrowserQuery, user: Any) -> View:
    if not _is_allowed(offer, user):
        raise NotAllowed
    if offer.access == "function":
        return _grant_by_function(offer, asked, user)
    rows = rows_of(offer, user)
    query = within(offer, asked)
    check_browser(query, field_tree(offer.fields))
    return _view(offer, query, rows, is_restricted=bool(rows))


def _is_allowed(offer: Offer, user: Any) -> bool:
    """Whether the user may have something of an offer; a function is asked later."""
    if offer.access in {"public", "function"}:
        return True
    if not (getattr(user, "is_authenticated", False) and getattr(user, "is_active", True)):
        return False
    if offer.access == "permission":
        return call(offer, "has_perm", lambda: user.has_perm(offer.permission)) is True
    return offer.access == "signed_in"


def _grant_by_function(offer: Offer, asked: BrowserQuery, user: Any) -> View:
    try:
        query = within(offer, asked)
        check_browser(query, field_tree(offer.fields))
    except QueryRefused as error:
        # The sentence would tell a user that there is an offer, before the function did.
        logger.debug(
            "The offer %r is not granted: %s",
            offer.name,
            error,
            extra={"what": "offer-not-granted", "offer": offer.name},
        )
        raise NotAllowed from None
    answer = ask_function(offer, query, user)
    rows = rows_of(offer, user)
    if answer is None:
        return _view(offer, query, rows, is_restricted=bool(rows))
    check_browser(query, field_tree(answer.fields))
    return _view(offer, answer, rows, is_restricted=bool(rows or answer.filter))


def _view(offer: Offer, query: BrowserQuery, rows: Filter, *, is_restricted: bool) -> View:
    parts = [part for part in (rows, query.filter) if part]
    limit = query.limit
    return View(
        offer_name=offer.name,
        fingerprint=offer.fingerprint,
        actions=query.events,
        fields=query.fields,
        filter={"_and": parts} if len(parts) > 1 else parts[0] if parts else {},
        is_restricted=is_restricted,
        item=query.item,
        sort=query.sort,
        limit=offer.first_load if limit is None else min(limit, offer.first_load),
    )
