"""Reads, and in the demo changes, the articles over Directus's REST interface."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _

from directus_realtime.settings import ConnectionSettings, connection_settings

Item = dict[str, Any]

TIMEOUT = 3.0  # seconds; somebody waits for the page
LIMIT = 50
SHOWN = ("id", "title", "status", "date_updated", "author")


@dataclass(frozen=True)
class Articles:
    """What the page lists, or the sentence that says why it cannot."""

    items: list[Item] = field(default_factory=list)
    error: str = ""


class Refused(Exception):
    """Directus answered with an error; the message is its own sentence."""


class Directus:
    """The items of one Directus; a context manager.

    Raises:
        Refused: Directus said no.
        httpx.TransportError: Directus could not be reached.
    """

    def __init__(self, connection: ConnectionSettings) -> None:
        self._connection = connection
        self._http = httpx.Client(
            base_url=connection.url, timeout=TIMEOUT, headers=dict(connection.headers)
        )

    def __enter__(self) -> Directus:
        token = self._connection.token or self._log_in()
        self._http.headers["Authorization"] = f"Bearer {token}"
        return self

    def __exit__(self, *error: object) -> None:
        self._http.close()

    def read(self, collection: str, **parameters: str | int) -> list[Item]:
        """Read items; the parameters are Directus's, such as ``sort`` and ``limit``."""
        items: list[Item] = self._request("GET", f"/items/{collection}", params=parameters)
        return items

    def create(self, collection: str, item: Item) -> None:
        """Create an item."""
        self._request("POST", f"/items/{collection}", json=item)

    def update(self, collection: str, key: int | str, changes: Item) -> None:
        """Change an item."""
        self._request("PATCH", f"/items/{collection}/{key}", json=changes)

    def delete(self, collection: str, key: int | str) -> None:
        """Delete an item."""
        self._request("DELETE", f"/items/{collection}/{key}")

    def _log_in(self) -> str:
        body = {"email": self._connection.email, "password": self._connection.password}
        return str(self._request("POST", "/auth/login", json=body)["access_token"])

    def _request(self, method: str, path: str, **options: Any) -> Any:
        response = self._http.request(method, path, **options)
        if response.is_error:
            raise Refused(_reason(response))
        return response.json()["data"] if response.content else None


def demo_mode() -> str:
    """``fake`` or ``directus`` where the demo runs, else empty; only the demo is written to."""
    return str(getattr(settings, "DEMO", ""))


def read_articles() -> Articles:
    """The current articles; never fails, because the page must show in any case."""
    # In a Directus that we do not know, the fields may have other names.
    fields = "id,title,status,date_updated,author.name" if demo_mode() else "*"
    try:
        with Directus(connection_settings()) as directus:
            items = directus.read("articles", fields=fields, sort="-id", limit=LIMIT)
    except ImproperlyConfigured:
        return Articles(error=_("No Directus is configured. Set DIRECTUS_URL and DIRECTUS_TOKEN."))
    except Refused as error:
        return Articles(error=_("Directus does not show its articles: %s") % error)
    except (httpx.HTTPError, ValueError, KeyError):
        return Articles(error=_("Directus cannot be reached, so its articles are not shown."))
    return Articles([{name: item.get(name) for name in SHOWN} for item in items])


def _reason(response: httpx.Response) -> str:
    try:
        return str(response.json()["errors"][0]["message"])
    except (ValueError, KeyError, IndexError, TypeError):
        return f"HTTP {response.status_code}"
