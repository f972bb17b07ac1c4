"""Names and messages of the Channels groups.

Groups are hints: Channels delivers at most once. Each message has the event's id, so that a
browser can deduplicate.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from directus_realtime.events import Event, Key

__all__ = ["connection_group_name", "group_name"]

#: Channels allows fewer than this many characters.
MAX_LENGTH = 100

_PREFIX = "directus"
_DEFAULT_CONNECTION = "default"
_LEGAL_PART = re.compile(r"[A-Za-z0-9_-]+")
_LEGAL_NAME = re.compile(r"[A-Za-z0-9._-]+")


def group_name(collection: str, *, key: Key | None = None, connection: str = "default") -> str:
    """Return the name of the group of a collection's events, or of those of one item.

    Args:
        collection: Name of the collection, for example ``articles``.
        key: Primary key of the one item; ``42`` and ``"42"`` are the same item.
        connection: Alias of the Directus server.

    Returns:
        ``directus.articles``, ``directus.articles.42``, ``directus-blog.articles`` for
        the connection ``blog``; parts that are illegal in Channels are hashed.
    """
    prefix = _PREFIX if connection == _DEFAULT_CONNECTION else f"{_PREFIX}-{connection}"
    parts = [collection] if key is None else [collection, str(key)]
    name = ".".join([prefix, *parts])
    if len(name) < MAX_LENGTH and all(_LEGAL_PART.fullmatch(part) for part in parts):
        return name
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()
    return f"{prefix}.sha256.{digest[:32]}"


def connection_group_name(connection: str = "default") -> str:
    """Return the name of the group of a connection's state."""
    # With an underscore, so that no alias of a connection makes the same name.
    return f"{_PREFIX}_connection.{connection}"


def is_legal_group_name(name: str) -> bool:
    """Return whether a group name is legal in Channels."""
    return len(name) < MAX_LENGTH and _LEGAL_NAME.fullmatch(name) is not None


def event_groups(event: Event, own_group: str = "") -> tuple[str, str]:
    """Return the groups of an event: of the collection (or subscription) and of the item."""
    return (
        own_group or group_name(event.collection, connection=event.connection),
        group_name(event.collection, key=event.key, connection=event.connection),
    )


def event_message(event: Event) -> dict[str, Any]:
    """Return the group message of an event; consumers handle it as ``directus_event``.

    That of an item that left the filter has no data: a user who may see the items of the filter
    need not be allowed to see the item outside of it.
    """
    return {
        "type": "directus.event",
        "id": event.id,
        "connection": event.connection,
        "subscription": event.subscription,
        "collection": event.collection,
        "action": event.action,
        "key": event.key,
        "data": None if event.left_filter else event.data,
        "origin": event.origin,
        "left_filter": event.left_filter,
        "received_at": event.received_at.isoformat(),
    }


def connection_message(connection: str, state: str, reason: str) -> dict[str, Any]:
    """Return the message of a state; consumers handle it as ``directus_connection``."""
    return {
        "type": "directus.connection",
        "connection": connection,
        "state": state,
        "reason": reason,
    }
