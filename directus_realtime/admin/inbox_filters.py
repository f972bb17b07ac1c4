"""Filters of the inbox's list. None asks a large table for the values it has."""

from __future__ import annotations

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
