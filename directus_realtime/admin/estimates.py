"""How many rows a large table has, without counting them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import connections
from django.db.models import Model, Q, QuerySet
from django.utils.formats import number_format

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
