"""The collections of the demonstration, in words that the fake and a real Directus share."""

from __future__ import annotations

from collections.abc import Mapping

#: A Directus type, ``date-created``, ``date-updated``, or ``("m2o", collection)``.
Kind = str | tuple[str, str]

#: Fields by collection; the key of each is a number named ``id``.
COLLECTIONS: Mapping[str, Mapping[str, Kind]] = {
    "authors": {"name": "string"},
    "articles": {
        "title": "string",
        "body": "text",
        "status": "string",
        "author": ("m2o", "authors"),
        "date_updated": "date-updated",
    },
    "messages": {
        "content": "text",
        "author": ("m2o", "directus_users"),
        "date_created": "date-created",
    },
    "orders": {
        "customer": "string",
        "total": "decimal",
        "status": "string",
        "date_created": "date-created",
        "completed_at": "timestamp",
    },
}
