"""The functions of declared subscriptions: what they say is checked, and an error counts as no."""

from __future__ import annotations

import inspect
import logging
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from django.db.models import Q

from directus_realtime.exceptions import QueryRefused
from directus_realtime.filters import to_directus_filter, to_plain
from directus_realtime.gateway.bounds import check_browser, within
from directus_realtime.gateway.conditions import compile_filter, shorten
from directus_realtime.gateway.offers import Offer
from directus_realtime.gateway.projection import field_tree
from directus_realtime.gateway.queries import BrowserQuery
from directus_realtime.protocol.queries import Filter

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
            extra={"what": "offer-function-answer", "offer": offer.name},
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
            extra={"what": "offer-function-failed", "offer": offer.name, "error": kind},
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
