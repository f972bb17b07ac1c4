"""A small synchronous REST client that sets up and changes a Directus in tests."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from http.client import TOO_MANY_REQUESTS
from typing import Any, Self

import httpx

Item = dict[str, Any]
Key = int | str

REQUEST_TIMEOUT = 60.0  # seconds; changing a schema is slow on a busy machine
RATE_LIMITED_FOR, RATE_LIMITED_PAUSE = 10.0, 0.5  # seconds; Directus counts by the second
PRIMARY_KEYS: dict[str, Item] = {
    "integer": {"type": "integer", "schema": {"has_auto_increment": True}},
    "bigInteger": {"type": "bigInteger", "schema": {"has_auto_increment": True}},
    "uuid": {"type": "uuid", "meta": {"special": ["uuid"]}, "schema": {}},
    "string": {"type": "string", "schema": {}},
}


class DirectusAdminError(Exception):
    """Directus refused a request; the message names the request and Directus's reason."""


class DirectusAdmin:
    """The part of Directus's REST interface that tests use, one request per method.

    Args:
        url: The address of the server.
        token: A token with the needed rights, usually the administrator's.

    Every method raises :exc:`DirectusAdminError` if Directus refuses.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=REQUEST_TIMEOUT,
            trust_env=False,
        )

    def __repr__(self) -> str:
        return f"<DirectusAdmin {self.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def request(
        self, method: str, path: str, body: object = None, params: Mapping[str, str] | None = None
    ) -> Any:
        """Send one request and return the ``data`` of the answer, if any.

        Where Directus's rate limiter refuses it, it is sent again for some seconds.

        Args:
            method: The HTTP method.
            path: The path, such as ``/items/articles``.
            body: Sent as JSON unless None.
            params: The query parameters.
        """
        try:
            answer = self._http.request(method, path, json=body, params=params)
            deadline = time.monotonic() + RATE_LIMITED_FOR
            while answer.status_code == TOO_MANY_REQUESTS and time.monotonic() < deadline:
                time.sleep(RATE_LIMITED_PAUSE)
                answer = self._http.request(method, path, json=body, params=params)
        except httpx.TransportError as error:
            raise DirectusAdminError(f"{method} {path} failed: {error!r}") from error
        if answer.is_error:
            raise DirectusAdminError(
                f"{method} {path} was answered with {answer.status_code}: {_reason(answer)}"
            )
        return answer.json().get("data") if answer.content else None

    def create_collection(
        self,
        name: str,
        fields: Mapping[str, str | Item],
        primary_key_type: str = "integer",
        **meta: Any,
    ) -> None:
        """Create a collection whose primary key is ``id``.

        Args:
            name: The name of the collection and its table.
            fields: The other fields: name to Directus type (``"string"``, ``"timestamp"``, …),
                or to a whole field description.
            primary_key_type: ``"integer"``, ``"bigInteger"``, ``"uuid"`` or ``"string"``.
            meta: More of its settings, such as ``note``.
        """
        primary = PRIMARY_KEYS[primary_key_type]
        schema = {**primary["schema"], "is_primary_key": True}
        described = [{"field": "id", **primary, "schema": schema}]
        described += [_field(field, kind) for field, kind in fields.items()]
        body = {"collection": name, "schema": {}, "meta": meta, "fields": described}
        self.request("POST", "/collections", body)

    def delete_collection(self, name: str) -> None:
        """Remove a collection with its items."""
        self.request("DELETE", f"/collections/{name}")

    def create_relation(self, collection: str, field: str, related: str) -> None:
        """Make an existing field a many-to-one relation to another collection."""
        body = {
            "collection": collection,
            "field": field,
            "related_collection": related,
            "schema": {"on_delete": "SET NULL"},
        }
        self.request("POST", "/relations", body)

    def create_user(self, policies: Sequence[Item] = (), **fields: Any) -> str:
        """Create a user with a static token and return the token.

        Args:
            policies: Descriptions of policies, created along with the user.
            fields: More fields of the user, such as ``email`` and ``password``.
        """
        token = secrets.token_urlsafe(24)
        user = {
            "email": f"user-{secrets.token_hex(4)}@example.com",
            "password": secrets.token_urlsafe(18),
            "token": token,
            "policies": [{"policy": policy} for policy in policies],
        }
        self.request("POST", "/users", {**user, **fields})
        return token

    def create_limited_user(self, permissions: Sequence[Item]) -> str:
        """Create a user with these permissions only, and return its token.

        Args:
            permissions: As Directus stores them, such as
                ``{"collection": "x", "action": "read", "permissions": {}, "fields": ["*"]}``.
        """
        policy = {
            "name": f"limited-{secrets.token_hex(4)}",
            "admin_access": False,
            "app_access": False,
            "permissions": [dict(permission) for permission in permissions],
        }
        return self.create_user([policy])

    def create_item(self, collection: str, item: Item) -> Item:
        """Create one item and return it as Directus stored it."""
        created: Item = self.request("POST", f"/items/{collection}", item)
        return created

    def create_items(self, collection: str, items: Sequence[Item]) -> list[Item]:
        """Create items in one request and return them as Directus stored them."""
        created: list[Item] = self.request("POST", f"/items/{collection}", list(items))
        return created

    def update_item(self, collection: str, key: Key, data: Item) -> Item:
        """Change one item and return it."""
        changed: Item = self.request("PATCH", f"/items/{collection}/{key}", data)
        return changed

    def update_items(self, collection: str, keys: Sequence[Key], data: Item) -> list[Item]:
        """Change several items in the same way with one request, and return them."""
        body = {"keys": list(keys), "data": data}
        changed: list[Item] = self.request("PATCH", f"/items/{collection}", body)
        return changed

    def delete_item(self, collection: str, key: Key) -> None:
        """Delete one item by its address; its event carries the key as a string."""
        self.request("DELETE", f"/items/{collection}/{key}")

    def delete_items(self, collection: str, keys: Sequence[Key]) -> None:
        """Delete several items with one request; its event carries the keys as given here."""
        self.request("DELETE", f"/items/{collection}", list(keys))

    def read_items(self, collection: str, **params: str) -> list[Item]:
        """Read items; the query parameters are Directus's, such as ``limit="-1"``."""
        items: list[Item] = self.request("GET", f"/items/{collection}", params=params)
        return items


def _field(name: str, kind: str | Item) -> Item:
    described = {"type": kind} if isinstance(kind, str) else kind
    return {"field": name, "schema": {}, "meta": {}, **described}


def _reason(answer: httpx.Response) -> str:
    try:
        errors = answer.json()["errors"]
        return "; ".join(f"{e['extensions']['code']}: {e['message']}" for e in errors)
    except (ValueError, KeyError, TypeError):
        return answer.text[:500]
