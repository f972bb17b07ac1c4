"""Four receivers: a log, the database, one that fails at random, and an ``async def`` one."""

from __future__ import annotations

import json
import os
import random
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

from directus_realtime import Event
from directus_realtime.signals import directus_event, directus_gap_detected
from tests.chaos.app.models import Effect, ItemTally

#: Folder of the logs; the receivers are connected where it is named.
FOLDER = os.environ.get("CHAOS_FOLDER", "")
#: How often the failing receiver fails.
FAILURE_RATE = 0.15


def append(name: str, **content: Any) -> None:
    """Add a line with one write, which a SIGKILL cannot cut in two."""
    line = json.dumps({**content, "pid": os.getpid()}, default=str) + "\n"
    log = os.open(Path(FOLDER) / f"{name}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(log, line.encode())
    finally:
        os.close(log)


def log_event(sender: str, event: Event, **kwargs: Any) -> None:
    append(
        "log",
        id=event.id,
        subscription=event.subscription,
        action=event.action,
        key=event.key,
        data=event.data,
        left_filter=event.left_filter,
        origin=event.origin,
        activity_id=event.activity_id,
        received_at=event.received_at,
    )


def record_effect(sender: str, event: Event, **kwargs: Any) -> None:
    data = event.data or {}
    Effect.objects.create(
        event_id=event.id,
        subscription=event.subscription,
        collection=event.collection,
        key=str(event.key),
        action=event.action,
        version=data.get("version"),
        status=data.get("status") or "",
        title=data.get("title") or "",
        left_filter=event.left_filter,
        origin=event.origin,
        activity_id=event.activity_id,
        size=data.get("filesize"),
        digest=sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest(),
        pid=os.getpid(),
    )
    tally, _ = ItemTally.objects.get_or_create(subscription=event.subscription, key=str(event.key))
    tally.count += 1
    tally.save()


def fail_at_random(sender: str, event: Event, **kwargs: Any) -> None:
    if random.random() < FAILURE_RATE:
        raise RuntimeError("This receiver fails at random.")
    append("flaky", id=event.id)


async def log_async(sender: str, event: Event, **kwargs: Any) -> None:
    append("async", id=event.id)


def log_gap(sender: str, **kwargs: Any) -> None:
    names = ("since", "until", "recovered", "collections")
    append("gaps", at=time.time(), **{name: kwargs[name] for name in names})


def connect() -> None:
    """Connect the receivers, where a folder for their logs is named."""
    if not FOLDER:
        return
    for receiver in (log_event, record_effect, fail_at_random, log_async):
        directus_event.connect(receiver)
    directus_gap_detected.connect(log_gap)
