"""The filter of the subscriptions' list by state."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from directus_realtime.models import SubscriptionState

PAUSED, NO_LISTENER = "paused", "no-listener"


class StateFilter(admin.SimpleListFilter):
    """By state as the list shows it; its rows say whether they have a listener."""

    title = _("state")
    parameter_name = "state__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """What the listener says of a subscription, and why it may say nothing."""
        return [
            *SubscriptionState.choices,
            (PAUSED, _("paused")),
            (NO_LISTENER, _("no listener")),
        ]

    # The stubs do not know what the list adds to its rows.
    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows that the list shows with the state."""
        state = self.value()
        if state is None:
            return queryset
        if state == PAUSED:
            return queryset.filter(enabled=False)
        if state == NO_LISTENER:
            return queryset.filter(enabled=True, has_listener=False)
        return queryset.filter(state=state, enabled=True, has_listener=True)
