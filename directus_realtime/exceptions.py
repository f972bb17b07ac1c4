"""The errors of this package.

::

    DirectusRealtimeError
    ├── BadFrame                    a frame that Directus does not send
    ├── EventFailed                 Directus could not send an event of a subscription
    ├── LeaseLost                   another listener is active now
    ├── QueryRefused                a request of a browser that is not allowed
    ├── RequestRefused              Directus answered a REST request with an error
    ├── SubscriptionRefused         Directus, or a check before it, refused a subscription
    └── ConnectionFailed            an attempt to connect failed; it may heal by itself
        └── ConnectionImpossible    it cannot succeed without a change by a person
            └── CredentialsRefused  the token, or the e-mail and password, are not accepted
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "BadFrame",
    "ConnectionFailed",
    "ConnectionImpossible",
    "CredentialsRefused",
    "DirectusRealtimeError",
    "EventFailed",
    "LeaseLost",
    "QueryRefused",
    "RequestRefused",
    "SubscriptionRefused",
]


class DirectusRealtimeError(Exception):
    """Parent of every error of this package; never raised itself."""


class BadFrame(DirectusRealtimeError):
    """A frame could not be understood; its neighbours are not affected.

    Args:
        problem: Problem, as a sentence without a full stop.
        excerpt: The frame, cut and without secrets.
    """

    def __init__(self, problem: str, excerpt: str) -> None:
        self.problem = problem
        self.excerpt = excerpt
        super().__init__(f"{problem}: {excerpt}")


class EventFailed(DirectusRealtimeError):
    """Directus could not send an event; the subscription itself goes on.

    Args:
        code: Directus's error code such as ``FORBIDDEN``.
        message: The server's own sentence.
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"Directus could not send an event ({code}: {message})")


class LeaseLost(DirectusRealtimeError):
    """Another listener has taken a connection over; this one must write nothing more.

    Args:
        aliases: Of the connections.
    """

    def __init__(self, aliases: Iterable[str]) -> None:
        self.aliases = tuple(aliases)
        super().__init__(f"Another listener has taken over: {', '.join(self.aliases)}.")


class QueryRefused(DirectusRealtimeError):
    """A request of a browser is not allowed, or cannot be evaluated by the gateway.

    Args:
        code: One of Directus's: ``FORBIDDEN``, ``INVALID_PAYLOAD`` or ``INVALID_QUERY``.
        message: A sentence for the browser; it names nothing that is hidden from it.
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)


class RequestRefused(DirectusRealtimeError):
    """Directus answered a REST request with an error.

    Args:
        status: HTTP status.
        code: Directus's error code such as ``FORBIDDEN``, or ``""``.
        message: The server's own sentence.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status = status
        self.code = code
        self.message = message
        super().__init__(message or f"Directus answered with HTTP status {status}.")


class SubscriptionRefused(DirectusRealtimeError):
    """A subscription is not active, and why.

    Args:
        code: Directus's error code such as ``FORBIDDEN``, or one of ours:
            ``NO_REPLY`` when the server never answered.
        message: The server's own sentence, or ours.
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)


class ConnectionFailed(DirectusRealtimeError):
    """An attempt to connect failed, or a connection was lost; trying again may help."""


class ConnectionImpossible(ConnectionFailed):
    """A connection that cannot succeed until its settings or the server's are changed."""


class CredentialsRefused(ConnectionImpossible):
    """Directus does not accept the token, or the e-mail and password."""
