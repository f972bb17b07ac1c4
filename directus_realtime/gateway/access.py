"""Access of browsers: an offer narrowed to the part that one user may see.

Decided when a browser subscribes, and never widened afterwards.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

from django.contrib.auth.models import AnonymousUser
from django.db.models import Q

from directus_realtime.exceptions import QueryRefused
from directus_realtime.filters import to_directus_filter, to_plain
from directus_realtime.gateway.browser_query import SubscribeRequest
from directus_realtime.gateway.browser_view import (
    BrowserView,
    FieldTree,
    field_tree,
    narrow,
    sort_path,
)
from directus_realtime.gateway.conditions import compile_filter, shorten
from directus_realtime.gateway.offers import Offer
from directus_realtime.protocol.queries import BrowserQuery, Filter
from directus_realtime.settings import DEFAULT_ALIAS
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.site_code import contained, original

logger = EventLogger("directus_realtime.gateway")

_T = TypeVar("_T")

#: One sentence for offers that do not exist and for those that are not allowed, so that
#: browsers cannot distinguish them.
NOT_OFFERED = "This collection does not exist, or it is not offered to you."


class _NotAllowed(Exception):
    """The user may not have the offer."""


class _InvalidAnswer(Exception):
    """A function of the site returned an unusable value; the message is for the log."""


def grant(offers: Iterable[Offer], request: SubscribeRequest, user: Any) -> BrowserView:
    """Return the view of the first offer that a browser may have.

    Functions of declared subscriptions are called, so this belongs into a thread.

    Args:
        offers: All offers.
        request: Request, by the name of an offer or by a collection.
        user: User of Django, or the value that ``authenticate`` returned; ``None`` if anonymous.

    Raises:
        QueryRefused: ``FORBIDDEN`` without such an offer, and for parts that are not offered;
            else ``INVALID_QUERY``.
    """
    user = AnonymousUser() if user is None else user
    refusal = QueryRefused("FORBIDDEN", NOT_OFFERED)
    for offer in _candidates(offers, request.collection):
        try:
            return _grant(offer, request.query, user)
        except _NotAllowed:
            continue
        except QueryRefused as error:
            refusal = error  # of an offer that the user may have, so it reveals nothing
    raise refusal


def _candidates(offers: Iterable[Offer], name: str) -> list[Offer]:
    """Return the offer of that name, then those of the default connection's collection."""
    found = [
        offer
        for offer in offers
        if offer.name == name or (offer.collection == name and offer.connection == DEFAULT_ALIAS)
    ]
    return sorted(found, key=lambda offer: (offer.name != name, offer.name))


def _grant(offer: Offer, query: BrowserQuery, user: Any) -> BrowserView:
    if offer.access == "function":
        return _grant_by_function(offer, query, user)
    if not _is_allowed(offer, user):
        raise _NotAllowed
    rows = _row_filter(offer, user)
    return _view(offer, _bounded(offer, query), rows, is_restricted=bool(rows))


def _is_allowed(offer: Offer, user: Any) -> bool:
    if offer.access == "public":
        return True
    if not (getattr(user, "is_authenticated", False) and getattr(user, "is_active", True)):
        return False
    if offer.access == "permission":
        return _call(offer, "has_perm", lambda: user.has_perm(offer.permission)) is True
    return offer.access == "signed_in"


def _grant_by_function(offer: Offer, query: BrowserQuery, user: Any) -> BrowserView:
    try:
        query = _bounded(offer, query)
    except QueryRefused as error:
        # The sentence would reveal the offer before the function has allowed it.
        logger.debug(
            "offer-not-granted",
            "The offer %r is not granted: %s",
            offer.name,
            error,
            offer=offer.name,
        )
        raise _NotAllowed from None
    answer = _call(offer, "allow", lambda: _ask(offer, query, user))
    rows = _row_filter(offer, user)
    if answer is None:
        return _view(offer, query, rows, is_restricted=bool(rows))
    _check_paths(query, field_tree(answer.fields))
    return _view(offer, answer, rows, is_restricted=bool(rows or answer.filter))


def _view(offer: Offer, query: BrowserQuery, rows: Filter, *, is_restricted: bool) -> BrowserView:
    parts = [part for part in (rows, query.filter) if part]
    limit = query.limit
    return BrowserView(
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


# Bounds of the offer


def _bounded(offer: Offer, query: BrowserQuery) -> BrowserQuery:
    """Narrow a query to the offer.

    Raises:
        QueryRefused: ``FORBIDDEN``; the query exceeds the offer.
    """
    fields = narrow(offer.fields, query.fields)
    if fields is None:
        raise _forbidden(next(n for n in query.fields if narrow(offer.fields, [n]) is None))
    events = tuple(event for event in query.events if event in offer.actions)
    if not events:
        raise QueryRefused("FORBIDDEN", f"{', '.join(query.events)} is not offered to you.")
    item = query.item if offer.item is None else offer.item
    if query.item is not None and str(query.item) != str(item):
        raise QueryRefused("FORBIDDEN", "This item does not exist, or it is not offered to you.")
    _check_paths(query, field_tree(offer.fields))
    return replace(query, events=events, fields=fields, item=item)


def _check_paths(query: BrowserQuery, tree: FieldTree) -> None:
    """Refuse hidden fields in the filter and the order, whose effects would reveal values."""
    for path in sorted([*compile_filter(query.filter).paths, *map(sort_path, query.sort)]):
        if not tree.covers(path):
            raise _forbidden(".".join(path))


def _forbidden(field: str) -> QueryRefused:
    return QueryRefused(
        "FORBIDDEN", f"The field {shorten(field)} does not exist, or it is not offered to you."
    )


# Functions of the site


def _call(offer: Offer, name: str, function: Callable[[], _T]) -> _T:
    """Call code of the site; an error in it is logged, and refuses access."""
    try:
        with contained():
            return function()
    except _NotAllowed:
        raise
    except _InvalidAnswer as error:
        logger.error(
            "offer-function-answer",
            "%s of the offer %r counts as no: %s.",
            name,
            offer.name,
            error,
            offer=offer.name,
        )
    except Exception as error:
        # The place, but no values: an exception of the site may contain anything.
        kind = type(original(error)).__name__
        logger.error(
            "offer-function-failed",
            "%s of the offer %r failed, a no: %s\n%s",
            name,
            offer.name,
            kind,
            "".join(traceback.format_tb(error.__traceback__)),
            offer=offer.name,
            error=kind,
        )
    raise _NotAllowed


def _row_filter(offer: Offer, user: Any) -> Filter:
    """Return the filter of the items that the user may see; empty for all of the offer."""
    rows = offer.browsers.rows if offer.browsers else None
    if rows is None:
        return {}
    return _call(offer, "rows", lambda: _checked_filter(offer, _synchronous(rows(user))))


def _ask(offer: Offer, query: BrowserQuery, user: Any) -> BrowserQuery | None:
    """Call ``allow``; return the query that replaces the browser's, if any."""
    allow = offer.browsers.allow if offer.browsers else None
    if not callable(allow) or offer.subscription is None:
        raise _NotAllowed
    answer: Any = _synchronous(allow(user, offer.subscription, query))
    if answer is True:
        return None
    if answer is False or answer is None:
        raise _NotAllowed
    if not isinstance(answer, BrowserQuery):
        raise _InvalidAnswer(f"it returned {type(answer).__name__}, not True, False or a query")
    return _checked_query(offer, answer, query)


def _checked_query(offer: Offer, answer: BrowserQuery, query: BrowserQuery) -> BrowserQuery:
    """Check that a function's query does not exceed the offer."""
    fields: object = answer.fields
    if isinstance(fields, str) or not fields:
        raise _InvalidAnswer(f"it returned the fields {shorten(fields)}")
    filter_ = _checked_filter(offer, answer.filter)
    try:
        bounded = _bounded(offer, replace(answer, fields=tuple(answer.fields), filter={}))
    except QueryRefused as error:
        raise _InvalidAnswer(f"it returned a query beyond the subscription ({error})") from None
    events = tuple(event for event in query.events if event in bounded.events)
    limit = bounded.limit if bounded.limit is None or bounded.limit >= 0 else None
    return replace(bounded, events=events, filter=filter_, limit=limit)


def _checked_filter(offer: Offer, given: object) -> Filter:
    """Check a filter of the site: one that cannot be evaluated must not pass all items."""
    filter_ = _to_filter(given)
    tree = field_tree(offer.fields)
    try:
        paths = sorted(compile_filter(filter_).paths)
    except QueryRefused as error:
        raise _InvalidAnswer(f"its filter cannot be evaluated ({error})") from None
    for path in paths:
        if not tree.covers(path):
            raise _InvalidAnswer(f"{'.'.join(path)!r} is not among the fields of the subscription")
    return filter_


def _to_filter(given: object) -> Filter:
    try:
        if isinstance(given, Q):
            _refuse_none(given)
            return to_directus_filter(given)
        if isinstance(given, dict):
            return dict(to_plain(given))
    except ValueError as error:
        raise _InvalidAnswer(f"its filter cannot be evaluated ({error})") from None
    raise _InvalidAnswer(f"it returned {type(given).__name__}, not a filter or a Q")


def _refuse_none(condition: Q) -> None:
    """Refuse a ``Q`` that would show items without an owner to a user without a value."""
    for child in condition.children:
        if isinstance(child, Q):
            _refuse_none(child)
        elif isinstance(child, tuple | list) and child[1] is None:
            raise _InvalidAnswer(
                f"{child[0]!r} is compared with None; write {child[0]}__isnull=True"
            )


def _synchronous(answer: Any) -> Any:
    if inspect.iscoroutine(answer):
        answer.close()
        raise _InvalidAnswer("it is async; it must be a plain function")
    return answer
