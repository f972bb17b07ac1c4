"""The refusals of Directus, in its own words."""

from __future__ import annotations

from typing import Any

NO_ACCESS = "You don't have permission to access this."


class ApiError(Exception):
    """An error answer of Directus.

    Args:
        status: The HTTP status over REST.
        code: Directus's error code.
        message: The sentence for people.
        extensions: Further details, besides the code.
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
    """Directus fails internally and sends no answer."""


def forbidden(reason: str | None = None) -> ApiError:
    """Refuse a thing that does not exist or is not allowed."""
    if reason is None:
        return ApiError(403, "FORBIDDEN", NO_ACCESS)
    return ApiError(403, "FORBIDDEN", reason, reason=reason)


def forbidden_collection(name: str) -> ApiError:
    """Refuse to read a collection."""
    return forbidden(
        f'You don\'t have permission to access collection "{name}" or it does not exist. '
        "Queried in root."
    )


def forbidden_action(name: str) -> ApiError:
    """Refuse to read the description of a collection."""
    return forbidden(
        f'You don\'t have permission to perform "read" for collection "{name}" '
        "or it does not exist."
    )


def forbidden_field(field: str, collection: str, path: str = "") -> ApiError:
    """Refuse to use a field; ``path`` is the relation that leads to it."""
    where = f'"{path}"' if path else "root"
    return forbidden(
        f'You don\'t have permission to access field "{field}" in collection "{collection}" '
        f"or it does not exist. Queried in {where}."
    )


def invalid_query(reason: str) -> ApiError:
    """Refuse a query; ``reason`` has no full stop."""
    return ApiError(400, "INVALID_QUERY", f"Invalid query. {reason}.", reason=reason)


def invalid_payload(reason: str) -> ApiError:
    """Refuse a request body; ``reason`` has no full stop."""
    return ApiError(400, "INVALID_PAYLOAD", f"Invalid payload. {reason}.", reason=reason)


def invalid_credentials() -> ApiError:
    """Refuse a token or password."""
    return ApiError(401, "INVALID_CREDENTIALS", "Invalid user credentials.")
