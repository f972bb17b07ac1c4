"""Receivers that write down what they got, when ``SAMPLE_LOG`` names a file.

``SAMPLE_SLEEP`` (seconds) makes the ``def`` receiver slow. An item whose title is
``fail-once`` fails at its first try, ``fail-always`` at every one, and one that begins with
``fail-until-mended`` until there is a file named ``SAMPLE_MENDED``; one with the title
``end-the-process`` does that. With ``SAMPLE_EFFECTS``
a receiver writes a row to the database for each event.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from directus_realtime import Event
from directus_realtime.signals import (
    directus_connection_changed,
    directus_event,
    directus_gap_detected,
    directus_item_created,
    directus_subscription_failed,
)

LOG = os.environ.get("SAMPLE_LOG", "")
SLEEP = float(os.environ.get("SAMPLE_SLEEP", "0"))
MENDED = os.environ.get("SAMPLE_MENDED", "")

_failed: set[str] = set()


def write(kind: str, **content: Any) -> None:
    with open(LOG, "a") as log:
        log.write(json.dumps({"kind": kind, "at": time.time(), **content}, default=str) + "\n")


def on_event(sender: str, event: Event, **kwargs: Any) -> None:
    write(
        "signal",
        id=event.id,
        sender=sender,
        subscription=event.subscription,
        action=event.action,
        key=event.key,
        title=(event.data or {}).get("title"),
        origin=event.origin,
        activity_id=event.activity_id,
        left_filter=event.left_filter,
    )
    time.sleep(SLEEP)


def on_article_created(sender: str, event: Event, **kwargs: Any) -> None:
    title = (event.data or {}).get("title")
    if title == "end-the-process":
        os._exit(9)
    if title == "fail-always" or (title == "fail-once" and event.id not in _failed):
        _failed.add(event.id)
        raise ValueError(f"{title} with access_token=not-to-be-shown")
    if str(title).startswith("fail-until-mended") and not os.path.exists(MENDED):
        raise LookupError(f"{title}: nothing is mended yet")
    write("created", id=event.id, key=event.key)


def store_effect(sender: str, event: Event, **kwargs: Any) -> None:
    from tests.sample.models import Effect

    Effect.objects.create(event_id=event.id, receiver="store_effect")


async def on_event_async(sender: str, event: Event, **kwargs: Any) -> None:
    write("async", id=event.id, key=event.key)


def on_notice(signal: Any, sender: str, **kwargs: Any) -> None:
    write(_NOTICES[signal], sender=sender, **kwargs)


_NOTICES = {
    directus_connection_changed: "connection",
    directus_gap_detected: "gap",
    directus_subscription_failed: "subscription_failed",
}

if LOG:
    directus_event.connect(on_event)
    directus_item_created.connect(on_article_created, sender="articles")
    if os.environ.get("SAMPLE_EFFECTS"):
        directus_event.connect(store_effect)
    if os.environ.get("SAMPLE_ASYNC"):
        directus_event.connect(on_event_async)
    for notice in _NOTICES:
        notice.connect(on_notice)
