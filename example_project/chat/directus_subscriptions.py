"""What the chat listens to, and that everybody may read it."""

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
