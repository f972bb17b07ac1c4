"""One change of one item, as one subscription sees it."""

from __future__ import annotations

import os
import random
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from directus_realtime.protocol.messages import Action, Key

__all__ = ["Action", "Event", "Key", "Origin"]

Origin = Literal["live", "catch-up", "snapshot", "replay", "repair"]

# uuid4() asks the system each time and lets other threads have the interpreter in the meantime;
# while one of them computes, that takes milliseconds. These ids must be unique, not secret.
_random = random.Random()
if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_random.seed)


def _new_id() -> str:
    return str(uuid.UUID(int=_random.getrandbits(128), version=4))


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change of one item.

    Attributes:
        id: Stays the same over redeliveries; use it to recognise one.
        connection: Alias of the Directus server.
        subscription: Name of the subscription that asked for it.
        collection: Name of the collection.
        action: ``create``, ``update`` or ``delete``.
        key: The item's primary key, with the type of the column.
        data: The fields that were asked for, as read after the change was committed;
            ``None`` for a delete.
        origin: ``live``, ``catch-up``, ``snapshot``, ``replay`` or ``repair``; later versions
            may add others.
        received_at: When the change was read from Directus; aware.
        activity_id: Id of the row in Directus's activity log; ``None`` for a change that
            Directus did not log, and for a first load.
        changed_at: When Directus wrote the change, by its own clock; aware. ``None`` where the
            change has no row in the activity log.
        changed_by: Id of the Directus user who made the change; ``None`` where it has no row
            in the log, or the token may not read the field ``user``.
        left_filter: An update by which the item left the filter of its subscription; ``data``
            is the item as it is outside, or its key alone where it cannot be read.
    """

    connection: str
    subscription: str
    collection: str
    action: Action
    key: Key
    data: dict[str, Any] | None = None
    origin: Origin = "live"
    id: str = field(default_factory=_new_id)
    received_at: datetime = field(default_factory=_now)
    activity_id: int | None = None
    changed_at: datetime | None = None
    changed_by: str | None = None
    left_filter: bool = False
