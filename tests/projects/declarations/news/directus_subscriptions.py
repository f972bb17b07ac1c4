from __future__ import annotations

from django.conf import settings

from directus_realtime import Subscription, register

register(
    Subscription(
        settings.NEWS_NAME,
        collection="articles",
        filter={"status": {"_eq": settings.NEWS_STATUS}},
        browsers="public",
    )
)
