"""Filters and search of the inbox's list; none queries a large table for its distinct values."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from directus_realtime.models import DirectusSubscription, InboxEvent
from directus_realtime.settings import aliases

_Choices = list[tuple[str, Any]]

#: Subscriptions to choose from.
_MOST = 100

ACTION_LABELS: dict[str, Any] = {
    "create": _("create"),
    "update": _("update"),
    "delete": _("delete"),
}
ORIGIN_LABELS: dict[str, Any] = {
    "live": _("live"),
    "catch-up": _("catch-up"),
    "snapshot": _("first load"),
    "replay": _("replay"),
}


class _Filter(admin.SimpleListFilter):
    """A filter by a column, whose values come from elsewhere; a value of the URL is kept."""

    column: str

    def known(self, request: HttpRequest) -> _Choices:
        """The values to choose from, with their labels."""
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Choices:
        """The known values, and the one that is asked for."""
        known = self.known(request)
        asked = request.GET.get(self.parameter_name or "")
        if asked and asked not in dict(known):
            known.append((asked, asked))
        return known

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[InboxEvent]
    ) -> QuerySet[InboxEvent]:
        """The rows that have the value."""
        value = self.value()
        return queryset if value is None else queryset.filter(**{self.column: value})


class CollectionFilter(_Filter):
    """By collection: those that there are subscriptions of."""

    title = _("collection")
    column = "collection"
    parameter_name = "collection__exact"

    def known(self, request: HttpRequest) -> _Choices:
        names = DirectusSubscription.objects.order_by("collection").distinct()
        return [(name, name) for name in names.values_list("collection", flat=True)]


class ActionFilter(_Filter):
    """By action."""

    title = _("action")
    column = "action"
    parameter_name = "action__exact"

    def known(self, request: HttpRequest) -> _Choices:
        return list(ACTION_LABELS.items())


class OriginFilter(_Filter):
    """By origin."""

    title = _("origin")
    column = "origin"
    parameter_name = "origin__exact"

    def known(self, request: HttpRequest) -> _Choices:
        return list(ORIGIN_LABELS.items())


class ConnectionFilter(_Filter):
    """By connection: those of the settings; not shown where there is only one."""

    title = _("connection")
    column = "connection"
    parameter_name = "connection__exact"

    def known(self, request: HttpRequest) -> _Choices:
        return [(alias, alias) for alias in aliases()]

    def has_output(self) -> bool:
        return len(self.lookup_choices) > 1


class SubscriptionFilter(_Filter):
    """By subscription: those of the collection that is asked for; of very many, the first."""

    title = _("subscription")
    column = "subscription"
    parameter_name = "subscription__exact"

    def known(self, request: HttpRequest) -> _Choices:
        rows = DirectusSubscription.objects.order_by("name")
        if collection := request.GET.get(CollectionFilter.parameter_name):
            rows = rows.filter(collection=collection)
        return [(name, name) for name in rows.values_list("name", flat=True)[:_MOST]]


def is_event_id(term: str) -> bool:
    """Whether a search can be for an event's id."""
    try:
        uuid.UUID(term.strip())
    except ValueError:
        return False
    return True


def search(rows: QuerySet[InboxEvent], term: str) -> QuerySet[InboxEvent]:
    """The events with an id, or of the items with a key, whatever the type of the key is.

    Args:
        rows: Where to look.
        term: An id; ``42``, which is found as a number and as a text; ``"42"``, which is a
            text only.
    """
    term = term.strip()
    if is_event_id(term):
        event = rows.filter(event_id=uuid.UUID(term))
        # Else it may be the key of an item.
        if event.exists():
            return event
    return rows.filter(key_json__in=_keys(term)) if term else rows


def _keys(term: str) -> set[str]:
    """What a search may mean, as it is stored."""
    found = {json.dumps(term)}
    try:
        value = json.loads(term)
    except (ValueError, RecursionError):
        return found
    if isinstance(value, str):
        return {json.dumps(value)}
    return found | {term} if isinstance(value, int) else found
