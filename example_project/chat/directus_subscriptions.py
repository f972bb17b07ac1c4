"""The subscription of the chat, which is public."""

from __future__ import annotations

from directus_realtime import Browsers, Subscription, register

register(
    Subscription(
        "chat",
        collection="messages",
        fields=["id", "content", "author.id", "author.first_name", "date_created"],
        browsers=Browsers("public", first_load=50),
    )
)
