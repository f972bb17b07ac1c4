"""The way from a view to Directus."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _

from directus_realtime.client import DirectusClient
from directus_realtime.exceptions import ConnectionFailed, CredentialsRefused, RequestRefused
from directus_realtime.settings import connection_settings

TIMEOUT = 3.0  # seconds; a visitor waits for it


class DirectusProblem(Exception):
    """Directus refused or failed; the message is for the visitor."""


@contextlib.asynccontextmanager
async def directus(*, to_write: bool = False) -> AsyncIterator[DirectusClient]:
    """A client for the requests of one view; each error becomes a sentence.

    Args:
        to_write: With the token of ``DIRECTUS_WRITE_TOKEN``; the listener's may only read.

    Raises:
        DirectusProblem: Directus is unavailable, or refused a request.
    """
    try:
        client = _make_client(to_write)
        try:
            async with asyncio.timeout(TIMEOUT):
                yield client
        finally:
            await client.disconnect()
    except ImproperlyConfigured:
        text = _("No Directus is configured. Set DIRECTUS_URL and DIRECTUS_TOKEN.")
        raise DirectusProblem(text) from None
    except (RequestRefused, CredentialsRefused) as error:
        raise DirectusProblem(_("Directus refuses: %s") % error) from None
    # Also a CA_FILE that is not there, and a token that does not fit into a header.
    except (ConnectionFailed, OSError, ValueError):
        raise DirectusProblem(_("Directus cannot be reached.")) from None


def _make_client(to_write: bool) -> DirectusClient:
    connection = connection_settings()
    if not to_write:
        return connection.make_client()
    token = getattr(settings, "DIRECTUS_WRITE_TOKEN", "")
    if not token:
        raise DirectusProblem(
            _("This site may not write to Directus: DIRECTUS_WRITE_TOKEN is not set.")
        )
    return replace(connection, token=token, email="", password="").make_client()
