"""The refusals of Directus, in its own words."""

from __future__ import annotations

from typing import Any

NO_ACCESS = "You don't have permission to access this."
UNKNOWN_COLLECTION = "The provided collection does not exists or is not accessible."


class ApiError(Exception):
    """What Directus answers instead of data.

    Args:
        status: The HTTP status over REST.
        code: Directus's error code.
        message: The sentence for people.
        extensions: What else Directus tells, besides the code.
    """

    def __init__(self, status: int, code: str, message: str, **extensions: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.extensions = extensions

    def as_json(self) -> dict[str, Any]:
        """Return one entry of the list ``errors`` of a REST answer."""
        return {"message": self.message, "extensions": {**self.extensions, "code": self.code}}


class NoReplyError(Exception):
    """Directus fails inside and the client hears nothing."""


def forbidden(reason: str | None = None) -> ApiError:
    """Return the refusal of something that is not there or not allowed."""
    if reason is None:
        return ApiError(403, "FORBIDDEN", NO_ACCESS)
    return ApiError(403, "FORBIDDEN", reason, reason=reason)


def forbidden_collection(name: str) -> ApiError:
    """Return the refusal to read a collection."""
    return forbidden(
        f'You don\'t have permission to access collection "{name}" or it does not exist. '
        "Queried in root."
    )


def forbidden_action(name: str) -> ApiError:
    """Return the refusal to read what describes a collection."""
    return forbidden(
        f'You don\'t have permission to perform "read" for collection "{name}" '
        "or it does not exist."
    )


def forbidden_field(field: str, collection: str, path: str = "") -> ApiError:
    """Return the refusal to use a field; ``path`` is the relation it was reached by."""
    where = f'"{path}"' if path else "root"
    return forbidden(
        f'You don\'t have permission to access field "{field}" in collection "{collection}" '
        f"or it does not exist. Queried in {where}."
    )


def invalid_query(reason: str) -> ApiError:
    """Return the refusal of a query; ``reason`` has no full stop."""
    return ApiError(400, "INVALID_QUERY", f"Invalid query. {reason}.", reason=reason)


def invalid_payload(reason: str) -> ApiError:
    """Return the refusal of a request body; ``reason`` has no full stop."""
    return ApiError(400, "INVALID_PAYLOAD", f"Invalid payload. {reason}.", reason=reason)


def invalid_credentials() -> ApiError:
    """Return the refusal of a wrong token or password."""
    return ApiError(401, "INVALID_CREDENTIALS", "Invalid user credentials.")


def token_expired() -> ApiError:
    """Return the refusal of a token that was good once."""
    return ApiError(401, "TOKEN_EXPIRED", "Token expired.")


def under_pressure() -> ApiError:
    """Return the refusal of a server that is too busy."""
    message = 'Service "api" is unavailable. Under pressure.'
    details = {"service": "api", "reason": "Under pressure"}
    return ApiError(503, "SERVICE_UNAVAILABLE", message, **details)


def internal_error(message: str) -> ApiError:
    """Return the answer to an administrator where the server fails."""
    return ApiError(500, "INTERNAL_SERVER_ERROR", message)


def not_unique(collection: str, field: str, value: Any) -> ApiError:
    """Return the refusal of a primary key that is taken."""
    message = f'Value "{value}" for field "{field}" in collection "{collection}" has to be unique.'
    return ApiError(
        400, "RECORD_NOT_UNIQUE", message, collection=collection, field=field, value=value
    )


def unknown_route(path: str) -> ApiError:
    """Return the answer to a path that Directus does not know."""
    return ApiError(404, "ROUTE_NOT_FOUND", f"Route {path} doesn't exist.", path=path)
