"""That an order changed is all that browsers are told; the sums come from a view."""

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
