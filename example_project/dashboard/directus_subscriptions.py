"""Browsers are notified of changed orders only; the sums come from a view."""

from __future__ import annotations

from directus_realtime import Browsers, Subscription, register

register(
    Subscription(
        "orders",
        collection="orders",
        fields=["id"],
        browsers=Browsers("public"),
    )
)
