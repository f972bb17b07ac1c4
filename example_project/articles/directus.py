"""Reads the articles from Directus, and knows whether it is the demo's."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _

from directus_realtime.exceptions import ConnectionFailed, CredentialsRefused, RequestRefused
from directus_realtime.settings import connection_settings

Item = dict[str, Any]

TIMEOUT = 3.0  # seconds; somebody waits for the page
LIMIT = 50
SHOWN = ("id", "title", "status", "date_updated", "author")


@dataclass(frozen=True)
class Articles:
    """What the page lists, or the sentence that says why it cannot."""

    items: list[Item] = field(default_factory=list)
    error: str = ""


def demo_mode() -> str:
    """``fake`` or ``directus`` where the demo runs, else empty; only the demo is written to."""
    return str(getattr(settings, "DEMO", ""))


async def read_articles() -> Articles:
    """The current articles; never fails, because the page must show in any case."""
    try:
        items = await _read()
    except ImproperlyConfigured:
        return Articles(error=_("No Directus is configured. Set DIRECTUS_URL and DIRECTUS_TOKEN."))
    except (RequestRefused, CredentialsRefused) as error:
        return Articles(error=_("Directus does not show its articles: %s") % error)
    # Also a CA_FILE that is not there, and a token that does not fit into a header.
    except (ConnectionFailed, OSError, ValueError):
        return Articles(error=_("Directus cannot be reached, so its articles are not shown."))
    return Articles([{name: item.get(name) for name in SHOWN} for item in items])


async def _read() -> list[Item]:
    # In a Directus that we do not know, the fields may have other names.
    fields = ["id", "title", "status", "date_updated", "author.name"] if demo_mode() else ["*"]
    client = connection_settings().make_client()
    try:
        async with asyncio.timeout(TIMEOUT):
            items: list[Item] = await client.read_items(
                "articles", fields=fields, sort="-id", limit=LIMIT
            )
            return items
    finally:
        await client.disconnect()
