"""List of the inbox: filters, search, and keyset pages that stay quick on large tables."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.formats import number_format

from directus_realtime.admin.base_admin import ACTION_LABELS, ORIGIN_LABELS, to_the_second
from directus_realtime.health_facts import OPEN_STATES
from directus_realtime.models import DirectusSubscription, InboxEvent, InboxState
from directus_realtime.settings import aliases
from directus_realtime.utils.json_parser import parse_json

#: Maximum number of rows that are counted.
COUNTED = 10_000
#: Maximum number of ids that a page without an index searches.
SEARCHED = 100_000
#: Maximum number of subscriptions that the filter offers.
_OFFERED = 100

#: States of few events: the index by state leads to them.
_FEW = {*(state.value for state in OPEN_STATES), InboxState.HANDLED.value}
_CURSOR = re.compile(r"(before|after)-(\d{1,18})")


@dataclass(frozen=True)
class Count:
    """A number of rows.

    Attributes:
        number: The number, or the limit at which counting stopped.
        is_exact: Whether all rows were counted.
    """

    number: int
    is_exact: bool = True

    @property
    def shown(self) -> str:
        """The number in the active language."""
        return number_format(self.number, force_grouping=True)


def count_up_to(rows: QuerySet[Any], most: int = COUNTED) -> Count:
    """Count rows up to a limit."""
    number = rows.order_by().values("pk")[: most + 1].count()
    return Count(min(number, most), number <= most)


@dataclass(frozen=True)
class ChangeListPage:
    """Events of one page, the newest first.

    Attributes:
        rows: The events.
        older: Id that the next page ends before; ``None`` on the last page.
        newer: Id that the previous page starts after; ``None`` on the first page.
        searched_to: Time of the oldest event searched, where the search ended with a page that
            is not full.
    """

    rows: list[InboxEvent]
    older: int | None = None
    newer: int | None = None
    searched_to: datetime | None = None


def read_page(
    rows: QuerySet[InboxEvent], cursor: str, size: int, *, is_bounded: bool
) -> ChangeListPage:
    """Read one page.

    Args:
        rows: Matching events, in any order.
        cursor: ``before-ID`` or ``after-ID``; anything else is the first page.
        size: Number of events of a page.
        is_bounded: Search no more than :data:`SEARCHED` ids.
    """
    every = InboxEvent.objects.using(rows.db).values_list("pk", flat=True)
    newest, oldest = every.order_by("-pk").first(), every.order_by("pk").first()
    if newest is None or oldest is None:
        return ChangeListPage([])
    found = _CURSOR.fullmatch(cursor)
    forwards = bool(found and found[1] == "after")
    span = SEARCHED if is_bounded else newest - oldest + 1
    if found and forwards:
        low = min(max(int(found[2]) + 1, oldest), newest + 1)
        high = min(low + span - 1, newest)
    else:
        high = min(max(int(found[2]), oldest) - 1, newest) if found else newest
        low = max(high - span + 1, oldest)
    rows = rows.filter(pk__gte=low, pk__lte=high).order_by("pk" if forwards else "-pk")
    read = list(rows[: size + 1])
    shown = read[:size][::-1] if forwards else read[:size]
    if len(read) > size and forwards:
        high = shown[0].pk
    elif len(read) > size:
        low = shown[-1].pk
    older, newer = low if low > oldest else None, high if high < newest else None
    searched_to = None
    if older is not None and len(shown) < size and not forwards:
        # Ids grow with time, so the oldest event of the span tells how far the search went.
        times = every.filter(pk__gte=low).order_by("pk")
        searched_to = times.values_list("received_at", flat=True).first()
    return ChangeListPage(shown, older, newer, searched_to)


class InboxChangeList(ChangeList):
    """Django's list with keyset pages.

    Attributes:
        page: The page.
        total: Number of matching events; ``None`` where counting them would take long.
    """

    def get_results(self, request: HttpRequest) -> None:
        """Read the page, and count what can be counted quickly."""
        asked = {name for name in self.params if name not in ("q", "o", "all", "_popup")}
        by_state = self.params.get("state__exact", "") in _FEW
        is_indexed = by_state or (asked <= {"connection__exact"} and not self.query)
        is_indexed = is_indexed or is_event_id(self.query)
        cursor = request.GET.get(PAGE_VAR, "")
        self.page = read_page(self.queryset, cursor, self.list_per_page, is_bounded=not is_indexed)
        self.total = self._total(is_countable=by_state or not (asked or self.query))
        self.result_list = self.page.rows
        # Django offers to select "all n events" where there are more than on the page.
        shown = len(self.page.rows)
        is_known = self.total is not None and self.total.is_exact
        self.result_count = self.total.number if self.total and is_known else shown
        # The same: next to the search there is no second number, which was not counted.
        self.full_result_count = self.result_count
        self.show_full_result_count = False
        self.show_admin_actions = bool(shown)
        self.can_show_all, self.multi_page = False, False

    def _total(self, *, is_countable: bool) -> Count | None:
        if is_countable:
            return count_up_to(self.queryset)
        if self.page.older is None and self.page.newer is None:
            return Count(len(self.page.rows))
        return None

    # For the template

    @property
    def searched_to(self) -> str:
        """Time at which the search ended; empty where all events were searched."""
        return to_the_second(self.page.searched_to) if self.page.searched_to else ""

    @property
    def newest_url(self) -> str:
        """The first page; empty on it."""
        return self.get_query_string(remove=[PAGE_VAR]) if self.page.newer is not None else ""

    @property
    def newer_url(self) -> str:
        """The previous page."""
        return self._url("after", self.page.newer)

    @property
    def older_url(self) -> str:
        """The next page."""
        return self._url("before", self.page.older)

    @property
    def oldest_url(self) -> str:
        """The last page."""
        return self._url("after", 0) if self.page.older is not None else ""

    def _url(self, direction: str, pk: int | None) -> str:
        return "" if pk is None else self.get_query_string({PAGE_VAR: f"{direction}-{pk}"})


def subscribed_collections() -> list[str]:
    """The collections of the subscriptions."""
    rows = DirectusSubscription.objects.order_by("collection").distinct()
    return list(rows.values_list("collection", flat=True))


def _subscriptions(request: HttpRequest) -> list[str]:
    rows = DirectusSubscription.objects.order_by("name")
    if collection := request.GET.get("collection__exact"):
        rows = rows.filter(collection=collection)
    return list(rows.values_list("name", flat=True)[:_OFFERED])


_KNOWN: dict[str, Callable[[HttpRequest], Mapping[str, Any] | list[str]]] = {
    "collection": lambda request: subscribed_collections(),
    "subscription": _subscriptions,
    "action": lambda request: ACTION_LABELS,
    "origin": lambda request: ORIGIN_LABELS,
    "connection": lambda request: aliases(),
}


class KnownValuesFilter(admin.ChoicesFieldListFilter):
    """Filter that offers known values; the distinct ones of a large table are slow to query.

    A value of the address is offered, too.
    """

    def __init__(self, field: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(field, request, *args, **kwargs)
        known = _KNOWN[field.name](request)
        labels = dict(known) if isinstance(known, Mapping) else dict(zip(known, known, strict=True))
        for value in self.lookup_val or ():
            labels.setdefault(value, value)
        self.field = copy(field)
        self.field.choices = list(labels.items())

    def has_output(self) -> bool:
        """Whether there is a choice; a single connection is none."""
        return len(self.field.flatchoices) > (self.field.name == "connection")


def is_event_id(term: str) -> bool:
    """Whether a search term can be the id of an event."""
    try:
        uuid.UUID(term.strip())
    except ValueError:
        return False
    return True


def search(rows: QuerySet[InboxEvent], term: str) -> QuerySet[InboxEvent]:
    """Return the event with an id, or the events of the items with a key.

    Args:
        rows: Events to search.
        term: An id; ``42``, which matches a number and a text; ``"42"``, which matches a text
            only.
    """
    term = term.strip()
    if is_event_id(term):
        event = rows.filter(event_id=uuid.UUID(term))
        # Else it may be the key of an item.
        if event.exists():
            return event
    return rows.filter(key_json__in=_keys(term)) if term else rows


def _keys(term: str) -> set[str]:
    """The stored forms of a key."""
    found = {json.dumps(term)}
    try:
        value = parse_json(term)
    except ValueError:
        return found
    if isinstance(value, str):
        return {json.dumps(value)}
    return found | {term} if isinstance(value, int) else found
