"""Subscriptions declared in code. The app finds this file by its name."""

from __future__ import annotations

from django.db.models import Q

from directus_realtime import Subscription, register

register(
    Subscription(
        "published-articles",
        collection="articles",
        # Directus sends deletes whatever the filter says; here they would only repeat others.
        events=("create", "update"),
        filter=Q(status="published"),
        fields=["id", "title", "status"],
        group="articles.published",
    )
)
