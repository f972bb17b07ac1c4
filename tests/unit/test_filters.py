from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db.models import F, Q

from directus_realtime.filters import to_directus_filter


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (None, {}),
        (Q(), {}),
        (Q(status="published"), {"status": {"_eq": "published"}}),
        (Q(status__exact="x"), {"status": {"_eq": "x"}}),
        (Q(id__in=[1, 2]), {"id": {"_in": [1, 2]}}),
        (Q(id__in=range(3)), {"id": {"_in": [0, 1, 2]}}),
        (Q(id__in=("a",)), {"id": {"_in": ["a"]}}),
        (Q(id__lt=5), {"id": {"_lt": 5}}),
        (Q(id__lte=5), {"id": {"_lte": 5}}),
        (Q(id__gt=5), {"id": {"_gt": 5}}),
        (Q(id__gte=5), {"id": {"_gte": 5}}),
        (Q(id__range=(1, 5)), {"id": {"_between": [1, 5]}}),
        (Q(title__contains="x"), {"title": {"_contains": "x"}}),
        (Q(title__icontains="x"), {"title": {"_icontains": "x"}}),
        (Q(title__startswith="x"), {"title": {"_starts_with": "x"}}),
        (Q(title__istartswith="x"), {"title": {"_istarts_with": "x"}}),
        (Q(title__endswith="x"), {"title": {"_ends_with": "x"}}),
        (Q(title__iendswith="x"), {"title": {"_iends_with": "x"}}),
        (Q(deleted__isnull=True), {"deleted": {"_null": True}}),
        (Q(deleted__isnull=False), {"deleted": {"_nnull": True}}),
        (Q(deleted=None), {"deleted": {"_null": True}}),
        (Q(featured=False), {"featured": {"_eq": False}}),
    ],
)
def test_lookups(condition: Q | None, expected: dict[str, Any]) -> None:
    assert to_directus_filter(condition) == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (~Q(status="x"), {"status": {"_neq": "x"}}),
        (~Q(id__in=[1]), {"id": {"_nin": [1]}}),
        (~Q(id__lt=5), {"id": {"_gte": 5}}),
        (~Q(id__lte=5), {"id": {"_gt": 5}}),
        (~Q(id__gt=5), {"id": {"_lte": 5}}),
        (~Q(id__gte=5), {"id": {"_lt": 5}}),
        (~Q(id__range=[1, 5]), {"id": {"_nbetween": [1, 5]}}),
        (~Q(title__contains="x"), {"title": {"_ncontains": "x"}}),
        (~Q(title__icontains="x"), {"title": {"_nicontains": "x"}}),
        (~Q(title__startswith="x"), {"title": {"_nstarts_with": "x"}}),
        (~Q(title__istartswith="x"), {"title": {"_nistarts_with": "x"}}),
        (~Q(title__endswith="x"), {"title": {"_nends_with": "x"}}),
        (~Q(title__iendswith="x"), {"title": {"_niends_with": "x"}}),
        (~Q(deleted__isnull=True), {"deleted": {"_nnull": True}}),
        (~Q(deleted__isnull=False), {"deleted": {"_null": True}}),
        (~Q(deleted=None), {"deleted": {"_nnull": True}}),
        (~~Q(status="x"), {"status": {"_eq": "x"}}),
    ],
)
def test_negated_lookups(condition: Q, expected: dict[str, Any]) -> None:
    assert to_directus_filter(condition) == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (Q(a=1, b=2), {"_and": [{"a": {"_eq": 1}}, {"b": {"_eq": 2}}]}),
        (Q(a=1) | Q(b=2), {"_or": [{"a": {"_eq": 1}}, {"b": {"_eq": 2}}]}),
        (~Q(a=1, b=2), {"_or": [{"a": {"_neq": 1}}, {"b": {"_neq": 2}}]}),
        (~(Q(a=1) | Q(b=2)), {"_and": [{"a": {"_neq": 1}}, {"b": {"_neq": 2}}]}),
        (
            Q(a=1) & (Q(b=2) | ~Q(c=3)),
            {"_and": [{"a": {"_eq": 1}}, {"_or": [{"b": {"_eq": 2}}, {"c": {"_neq": 3}}]}]},
        ),
        (
            ~(Q(a=1) & ~(Q(b=2) | Q(c=3))),
            {"_or": [{"a": {"_neq": 1}}, {"_or": [{"b": {"_eq": 2}}, {"c": {"_eq": 3}}]}]},
        ),
    ],
)
def test_combinations(condition: Q, expected: dict[str, Any]) -> None:
    assert to_directus_filter(condition) == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (Q(author__name="x"), {"author": {"name": {"_eq": "x"}}}),
        (
            Q(author__team__name__icontains="x"),
            {"author": {"team": {"name": {"_icontains": "x"}}}},
        ),
        (Q(published_on__year=2024), {"year(published_on)": {"_eq": 2024}}),
        (Q(published_on__year__gte=2024), {"year(published_on)": {"_gte": 2024}}),
        (Q(author__born__month=5), {"author": {"month(born)": {"_eq": 5}}}),
        # A field may have the name of a lookup or of a function.
        (Q(contains="x"), {"contains": {"_eq": "x"}}),
        (Q(date="2024-01-01"), {"date": {"_eq": "2024-01-01"}}),
        (Q(year=2024), {"year": {"_eq": 2024}}),
    ],
)
def test_relations_and_functions(condition: Q, expected: dict[str, Any]) -> None:
    assert to_directus_filter(condition) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (date(2024, 5, 1), "2024-05-01"),
        (datetime(2024, 5, 1, 12, tzinfo=UTC), "2024-05-01T12:00:00+00:00"),
        (Decimal("1.50"), "1.50"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (time(12, 30), "12:30:00"),
    ],
)
def test_values_become_json(value: Any, expected: str) -> None:
    filter_ = to_directus_filter(Q(field=value) | Q(other__in={value}))
    assert filter_ == {"_or": [{"field": {"_eq": expected}}, {"other": {"_in": [expected]}}]}
    assert json.loads(json.dumps(filter_)) == filter_


@pytest.mark.parametrize(
    "lookup", ["iexact", "regex", "iregex", "search", "date", "time", "quarter"]
)
def test_an_unmapped_lookup_is_a_clear_error(lookup: str) -> None:
    with pytest.raises(ValueError, match=f"The lookup '{lookup}' of 'title__{lookup}' has no"):
        to_directus_filter(Q(**{f"title__{lookup}": "x"}))


@pytest.mark.parametrize("lookup", ["week_day", "iso_week_day", "iso_year", "has_key"])
def test_lookups_of_django_that_directus_spells_otherwise_are_errors(lookup: str) -> None:
    with pytest.raises(ValueError, match=f"The lookup '{lookup}'"):
        to_directus_filter(Q(**{f"published_on__{lookup}": 1}))


def test_an_xor_is_a_clear_error() -> None:
    with pytest.raises(ValueError, match=r"\^ \(XOR\)"):
        to_directus_filter(Q(a=1) ^ Q(b=2))


def test_an_expression_is_a_clear_error() -> None:
    with pytest.raises(ValueError, match="cannot be written as a Directus filter"):
        to_directus_filter(Q(Q(F("a"))))


@pytest.mark.parametrize("value", [F("other"), object(), b"bytes", timedelta(1)])
def test_a_value_that_json_cannot_hold_is_a_value_error(value: object) -> None:
    with pytest.raises(ValueError, match="cannot be sent to Directus"):
        to_directus_filter(Q(field=value))


def test_a_directus_filter_stays_as_it_is() -> None:
    given = {"_and": [{"status": {"_eq": "x"}}, {"tags": {"_some": {"name": {"_eq": "y"}}}}]}
    assert to_directus_filter(given) == given


def test_values_of_a_directus_filter_become_json() -> None:
    key = UUID(int=1)
    given = {"_and": [{"owner": {"_eq": key}}, {"day": {"_in": (date(2024, 5, 1),)}}]}
    filter_ = to_directus_filter(given)
    assert filter_ == {"_and": [{"owner": {"_eq": str(key)}}, {"day": {"_in": ["2024-05-01"]}}]}
    with pytest.raises(ValueError, match="cannot be sent to Directus"):
        to_directus_filter({"owner": {"_eq": object()}})


def test_a_directus_filter_that_is_nested_too_deep_is_a_value_error() -> None:
    condition: dict[str, Any] = {"status": {"_eq": "x"}}
    for _ in range(2000):
        condition = {"author": condition}
    with pytest.raises(ValueError, match="nested too deep"):
        to_directus_filter(condition)


def test_a_directus_filter_is_checked() -> None:
    with pytest.raises(ValueError, match="_is is not a Directus filter operator"):
        to_directus_filter({"status": {"_is": "x"}})
