"""The list of the inbox: bounded counts and pages that stay quick on large tables."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.db import connections
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils.formats import number_format

from directus_realtime.admin.base_admin import to_the_second
from directus_realtime.admin.inbox_filters import is_event_id
from directus_realtime.health_facts import OPEN_STATES
from directus_realtime.models import InboxEvent, InboxState

#: Up to so many rows are counted.
COUNTED = 10_000
#: Spans of ids that are looked at, and the ids of each.
_SPANS, _IDS = 32, 128

_PLANNED = """
    SELECT reltuples / NULLIF(relpages, 0)
        * (pg_relation_size(oid) / current_setting('block_size')::bigint)
    FROM pg_class WHERE oid = %s::regclass AND reltuples >= 0
"""


@dataclass(frozen=True)
class Count:
    """A number of rows.

    Attributes:
        number: It.
        is_exact: Whether they were counted.
    """

    number: int
    is_exact: bool = True

    @property
    def shown(self) -> str:
        """The number, as it is written in the language at hand."""
        return number_format(self.number, force_grouping=True)


def count_up_to(rows: QuerySet[Any], most: int = COUNTED) -> Count:
    """Count rows, and stop at so many."""
    number = rows.order_by().values("pk")[: most + 1].count()
    return Count(min(number, most), number <= most)


def estimate(model: type[Model], using: str) -> Count:
    """The rows of a table; those of a small one are counted.

    Args:
        model: Of the table; its primary key grows with each row.
        using: Alias of the database.
    """
    rows = model._base_manager.using(using)
    counted = count_up_to(rows)
    if counted.is_exact:
        return counted
    planned = _planned(model, using) if connections[using].vendor == "postgresql" else None
    number = _sampled(rows) if planned is None else planned
    return Count(_rounded(max(number, counted.number)), is_exact=False)


def _planned(model: type[Model], using: str) -> int | None:
    """What PostgreSQL's planner would say; ``None`` for a table that it knows nothing of."""
    quoted = connections[using].ops.quote_name(model._meta.db_table)
    with connections[using].cursor() as cursor:
        cursor.execute(_PLANNED, [quoted])
        found = cursor.fetchone()
    return None if found is None or found[0] is None else int(found[0])


def _sampled(rows: QuerySet[Any]) -> int:
    """As many as there are in some spans of ids, times what the spans are of all ids."""
    ids = rows.values_list("pk", flat=True)
    first, last = ids.order_by("pk").first(), ids.order_by("-pk").first()
    if first is None or last is None:
        return 0
    step = max((last + 1 - first) // _SPANS, _IDS)
    spans = Q()
    for number in range(_SPANS):
        start = first + number * step
        spans |= Q(pk__gte=start, pk__lt=start + _IDS)
    share = _SPANS * _IDS / (last + 1 - first)
    found: int = rows.filter(spans).count()
    return int(found / share)


def _rounded(number: int) -> int:
    """To two digits: the others would only look as if they were known."""
    unit = int(10 ** max(len(str(number)) - 2, 0))
    return round(number / unit) * unit


#: Events that a page looks through.
LOOKED_THROUGH = 100_000

#: States of few events: the index by state leads to them.
_FEW = {*(state.value for state in OPEN_STATES), InboxState.HANDLED.value}
_CURSOR = re.compile(r"(before|after)-(\d{1,18})")


@dataclass(frozen=True)
class ChangeListPage:
    """Events of one page, the newest first.

    Attributes:
        rows: The events.
        older: Where the next page begins: behind this id; ``None`` on the last one.
        newer: Where the page before begins; ``None`` on the first one.
        looked_back_to: Where a look ended that did not fill the page.
    """

    rows: list[InboxEvent]
    older: int | None = None
    newer: int | None = None
    looked_back_to: datetime | None = None


def read_page(
    rows: QuerySet[InboxEvent], cursor: str, size: int, *, is_bounded: bool
) -> ChangeListPage:
    """Read a page.

    Args:
        rows: What is asked for, in any order.
        cursor: ``before-ID`` or ``after-ID``; anything else is the first page.
        size: Of a page.
        is_bounded: Look through no more than :data:`LOOKED_THROUGH` events.
    """
    every = InboxEvent.objects.using(rows.db).values_list("pk", "received_at")
    newest, oldest = every.order_by("-pk").first(), every.order_by("pk").first()
    if newest is None or oldest is None:
        return ChangeListPage([])
    reader = _Reader(rows, oldest[0], newest[0], size, LOOKED_THROUGH if is_bounded else 0)
    found = _CURSOR.fullmatch(cursor)
    if found and found[1] == "after":
        return reader.after(max(int(found[2]), oldest[0] - 1))
    page = reader.before(min(int(found[2]) if found else newest[0] + 1, newest[0] + 1))
    if page.older is None or len(page.rows) >= size:
        return page
    # Ids grow with time, so the event at the edge tells how far the look went.
    edge = every.filter(pk__gte=page.older).order_by("pk").first()
    return replace(page, looked_back_to=edge[1] if edge else None)


@dataclass(frozen=True)
class _Reader:
    """Reads pages by ids.

    Attributes:
        rows: What is asked for.
        oldest: Smallest id of the table.
        newest: Largest id of the table.
        size: Of a page.
        look: Ids that a page looks through; 0 for all.
    """

    rows: QuerySet[InboxEvent]
    oldest: int
    newest: int
    size: int
    look: int

    def before(self, end: int) -> ChangeListPage:
        """The newest ones with a smaller id."""
        start = max(end - self.look, self.oldest) if self.look else self.oldest
        rows = self.rows.filter(pk__lt=end)
        if start > self.oldest:
            rows = rows.filter(pk__gte=start)
        found = list(rows.order_by("-pk")[: self.size + 1])
        shown = found[: self.size]
        older = start if start > self.oldest else None
        if len(found) > self.size:
            older = shown[-1].pk
        newer = None if end > self.newest else (shown[0].pk if shown else end - 1)
        return ChangeListPage(shown, older, newer)

    def after(self, start: int) -> ChangeListPage:
        """The oldest ones with a larger id."""
        end = min(start + self.look, self.newest) if self.look else self.newest
        rows = self.rows.filter(pk__gt=start)
        if end < self.newest:
            rows = rows.filter(pk__lte=end)
        found = list(rows.order_by("pk")[: self.size + 1])
        shown = found[: self.size][::-1]
        newer = end if end < self.newest else None
        if len(found) > self.size:
            newer = shown[0].pk
        older = (shown[-1].pk if shown else start + 1) if start >= self.oldest else None
        return ChangeListPage(shown, older, newer)


class InboxChangeList(ChangeList):
    """Django's list with pages of its own.

    Attributes:
        page: What is shown.
        total: How many events there are of what is asked for; ``None`` where nobody knows.
    """

    def get_results(self, request: HttpRequest) -> None:
        """Read the page, and count what can be counted at once."""
        asked = {name for name in self.params if name not in ("q", "o", "all", "_popup")}
        by_state = self.params.get("state__exact", "") in _FEW
        is_indexed = by_state or (asked <= {"connection__exact"} and not self.query)
        is_indexed = is_indexed or is_event_id(self.query)
        self.page = read_page(
            self.queryset, self._cursor(request), self.list_per_page, is_bounded=not is_indexed
        )
        self.total = self._total(is_whole=not (asked or self.query), is_counted=by_state)
        self.result_list = self.page.rows
        # Django offers to select "all n events" where there are more than on the page.
        shown = len(self.page.rows)
        is_known = self.total is not None and self.total.is_exact
        self.result_count = self.total.number if self.total and is_known else shown
        # The same: next to the search there is no second number, which nobody has counted.
        self.full_result_count = self.result_count
        self.show_full_result_count = False
        self.show_admin_actions = bool(shown)
        self.can_show_all, self.multi_page = False, False

    def _cursor(self, request: HttpRequest) -> str:
        return request.GET.get(PAGE_VAR, "")

    def _total(self, *, is_whole: bool, is_counted: bool) -> Count | None:
        if is_whole:
            return estimate(self.model, self.queryset.db)
        if is_counted:
            return count_up_to(self.queryset)
        page = self.page
        if page.older is None and page.newer is None:
            return Count(len(page.rows))
        return None

    # Of the template

    @property
    def looked_back_to(self) -> str:
        """Where the look ended, as the rows tell times; empty where it looked through all."""
        return to_the_second(self.page.looked_back_to) if self.page.looked_back_to else ""

    @property
    def newest_url(self) -> str:
        """The first page; empty on it."""
        return self.get_query_string(remove=[PAGE_VAR]) if self.page.newer is not None else ""

    @property
    def newer_url(self) -> str:
        """The page before."""
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
