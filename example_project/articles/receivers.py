"""Receivers of the changes in Directus; they run in the listener."""

from __future__ import annotations

import logging
from typing import Any

from django.dispatch import receiver

from directus_realtime.events import Event
from directus_realtime.signals import directus_item_created, directus_item_deleted

logger = logging.getLogger(__name__)


@receiver(directus_item_created, sender="articles")
def log_new_article(sender: str, event: Event, **kwargs: Any) -> None:
    """Note a new article; a real site would index it, or send a mail."""
    # An article that two subscriptions ask for comes twice, each time with its name.
    if event.subscription == "all-articles" and event.data is not None:
        logger.info("New article %s: %s", event.key, event.data.get("title"))


@receiver(directus_item_deleted, sender="articles")
async def log_deleted_article(sender: str, event: Event, **kwargs: Any) -> None:
    """Note a deleted article; receivers may be ``async def``."""
    if event.subscription == "all-articles":
        logger.info("Article %s is gone", event.key)
