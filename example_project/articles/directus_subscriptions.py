"""Subscriptions declared in code. The app finds this file by its name."""

from __future__ import annotations

from django.db.models import Q

from directus_realtime import Subscription, register

register(
    Subscription(
        "published-articles",
        collection="articles",
        # The deletes come with the subscription to all articles, which seed_demo makes.
        events=("create", "update"),
        filter=Q(status="published"),
        fields=["id", "title", "status"],
        group="articles.published",
        browsers="public",
    )
)
