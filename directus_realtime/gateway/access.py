"""Access of browsers: an offer narrowed to what one user may see of it.

Decided when a browser subscribes, and never widened afterwards.
"""

from __future__ import annotations

import inspect
import logging
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

from django.contrib.auth.models import AnonymousUser
from django.db.models import Q

from directus_realtime.events import Key
from directus_realtime.exceptions import QueryRefused
from directus_realtime.filters import to_directus_filter, to_plain
from directus_realtime.gateway.browser_query import BrowserQuery, SubscribeRequest
from directus_realtime.gateway.browser_view import BrowserView
from directus_realtime.gateway.conditions import compile_filter, shorten
from directus_realtime.gateway.fields import FieldTree, field_tree, narrow, sort_path
from directus_realtime.gateway.offers import Offer
from directus_realtime.protocol.queries import Filter
from directus_realtime.settings import DEFAULT_ALIAS


def within(offer: Offer, asked: BrowserQuery) -> BrowserQuery:
    """The browser's query with the offer's own bounds.

    Raises:
        QueryRefused: ``FORBIDDEN``; it goes beyond them.
    """
    fields = narrow(offer.fields, asked.fields)
    if fields is None:
        outside = next(name for name in asked.fields if narrow(offer.fields, [name]) is None)
        raise _forbidden_field(outside)
    events = tuple(event for event in asked.events if event in offer.actions)
    if not events:
        raise QueryRefused("FORBIDDEN", f"{', '.join(asked.events)} is not offered to you.")
    return replace(asked, events=events, fields=fields, item=_item(offer, asked))


def _item(offer: Offer, query: BrowserQuery) -> Key | None:
    if offer.item is None:
        return query.item
    if query.item is not None and str(query.item) != str(offer.item):
        raise QueryRefused("FORBIDDEN", "This item does not exist, or it is not offered to you.")
    return offer.item


def check_browser(query: BrowserQuery, tree: FieldTree) -> None:
    """Refuse to look at hidden fields: what passes a filter, or comes first, tells their values.

    Raises:
        QueryRefused: ``FORBIDDEN``; the filter or the order names a field outside of the tree.
    """
    paths = [*compile_filter(query.filter).paths, *map(sort_path, query.sort)]
    if outside := [path for path in sorted(paths) if not tree.covers(path)]:
        raise _forbidden_field(".".join(outside[0]))


def _forbidden_field(name: str) -> QueryRefused:
    return QueryRefused(
        "FORBIDDEN", f"The field {shorten(name)} does not exist, or it is not offered to you."
    )


logger = logging.getLogger("directus_realtime.gateway")

_T = TypeVar("_T")


class NotAllowed(Exception):
    """The user may not have the offer."""


class _BadAnswer(Exception):
    """A function returned what cannot be used; the message is for the log."""


def ask_function(offer: Offer, query: BrowserQuery, user: Any) -> BrowserQuery | None:
    """Ask the function of an offer.

    Returns:
        The query that it puts into the place of the browser's; ``None`` for none.

    Raises:
        NotAllowed: It said no, failed, or said what cannot be used; the latter two are logged.
    """
    return call(offer, "allow", lambda: _ask(offer, query, user))


def rows_of(offer: Offer, user: Any) -> Filter:
    """The items that the user may see, of those of the offer; empty for all of them.

    Raises:
        NotAllowed: The function failed, or its filter cannot be evaluated; it is logged.
    """
    rows = offer.browsers.rows if offer.browsers else None
    if rows is None:
        return {}
    return call(offer, "rows", lambda: _restriction(offer, _without_coroutine(rows(user))))


def call(offer: Offer, what: str, function: Callable[[], _T]) -> _T:
    """Call what a project wrote; an error in it is logged and counts as no.

    Raises:
        NotAllowed: There was one, or the function said so itself.
    """
    try:
        return function()
    except NotAllowed:
        raise
    except _BadAnswer as error:
        logger.error(
            "%s of the offer %r counts as no: %s.",
            what,
            offer.name,
            error,
            extra={"event": "offer-function-answer", "offer": offer.name},
        )
    except Exception as error:
        # The place, but no values: an exception of the project's may hold anything.
        place = "".join(traceback.format_tb(error.__traceback__))
        kind = type(error).__name__
        logger.error(
            "%s of the offer %r failed, a no: %s\n%s",
            what,
            offer.name,
            kind,
            place,
            extra={"event": "offer-function-failed", "offer": offer.name, "error": kind},
        )
    raise NotAllowed


def _ask(offer: Offer, query: BrowserQuery, user: Any) -> BrowserQuery | None:
    allow = offer.browsers.allow if offer.browsers else None
    if not callable(allow) or offer.subscription is None:
        raise NotAllowed
    answer: Any = _without_coroutine(allow(user, offer.subscription, query))
    if answer is True:
        return None
    if answer is False or answer is None:
        raise NotAllowed
    if not isinstance(answer, BrowserQuery):
        raise _BadAnswer(f"it returned {type(answer).__name__}, not True, False or a query")
    return _checked(offer, answer, query)


def _checked(offer: Offer, answer: BrowserQuery, query: BrowserQuery) -> BrowserQuery:
    """A function's query, of which nothing is beyond the offer."""
    fields: object = answer.fields
    if isinstance(fields, str) or not fields:
        raise _BadAnswer(f"it returned the fields {shorten(fields)}")
    filter_ = _restriction(offer, answer.filter)
    try:
        bounded = within(offer, replace(answer, fields=tuple(answer.fields)))
        check_browser(replace(bounded, filter={}), field_tree(offer.fields))
    except QueryRefused as error:
        raise _BadAnswer(f"it returned a query beyond the subscription ({error})") from None
    events = tuple(event for event in query.events if event in bounded.events)
    limit = bounded.limit if bounded.limit is None or bounded.limit >= 0 else None
    return replace(bounded, events=events, filter=filter_, limit=limit)


def _restriction(offer: Offer, given: object) -> Filter:
    """A filter of the project's, checked: what cannot be evaluated must not let all through."""
    filter_ = _to_filter(given)
    tree = field_tree(offer.fields)
    try:
        paths = sorted(compile_filter(filter_).paths)
    except QueryRefused as error:
        raise _BadAnswer(f"its filter cannot be evaluated ({error})") from None
    for path in paths:
        if not tree.covers(path):
            raise _BadAnswer(f"{'.'.join(path)!r} is not among the fields of the subscription")
    return filter_


def _to_filter(given: object) -> Filter:
    try:
        if isinstance(given, Q):
            _refuse_none(given)
            return to_directus_filter(given)
        if isinstance(given, dict):
            return dict(to_plain(given))
    except ValueError as error:
        raise _BadAnswer(f"its filter cannot be evaluated ({error})") from None
    raise _BadAnswer(f"it returned {type(given).__name__}, not a filter or a Q")


def _refuse_none(condition: Q) -> None:
    """Refuse a ``Q`` that would show the items of nobody to a user who has no value."""
    for child in condition.children:
        if isinstance(child, Q):
            _refuse_none(child)
        elif isinstance(child, tuple | list) and child[1] is None:
            raise _BadAnswer(f"{child[0]!r} is compared with None; write {child[0]}__isnull=True")


def _without_coroutine(answer: Any) -> Any:
    if inspect.iscoroutine(answer):
        answer.close()
        raise _BadAnswer("it is async; it must be a plain function")
    return answer


#: One sentence for what does not exist and what is not allowed, so that nobody can tell.
NOT_OFFERED = "This collection does not exist, or it is not offered to you."


def grant(offers: Iterable[Offer], subscribe: SubscribeRequest, user: Any) -> BrowserView:
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


def _grant(offer: Offer, asked: BrowserQuery, user: Any) -> BrowserView:
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


def _grant_by_function(offer: Offer, asked: BrowserQuery, user: Any) -> BrowserView:
    try:
        query = within(offer, asked)
        check_browser(query, field_tree(offer.fields))
    except QueryRefused as error:
        # The sentence would tell a user that there is an offer, before the function did.
        logger.debug(
            "The offer %r is not granted: %s",
            offer.name,
            error,
            extra={"event": "offer-not-granted", "offer": offer.name},
        )
        raise NotAllowed from None
    answer = ask_function(offer, query, user)
    rows = rows_of(offer, user)
    if answer is None:
        return _view(offer, query, rows, is_restricted=bool(rows))
    check_browser(query, field_tree(answer.fields))
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
