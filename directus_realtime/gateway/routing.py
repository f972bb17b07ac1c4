"""Routes of the gateway, with checks of origins and sessions.

::

    application = ProtocolTypeRouter({"http": …, "websocket": directus_gateway()})
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import SplitResult, urlsplit

from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from channels.security.websocket import OriginValidator
from django.apps import apps
from django.conf import settings
from django.urls import path as url_path

from directus_realtime.gateway.gateway import (
    SERVER_SEND,
    AuthenticateFunction,
    DirectusGateway,
    Receive,
    Send,
)
from directus_realtime.gateway.live_consumer import live_urlpattern

__all__ = ["directus_gateway", "protected"]

_LOCAL_HOSTS = ["localhost", "127.0.0.1", "[::1]"]


def directus_gateway(
    path: str = "directus/",
    *,
    authenticate: AuthenticateFunction | None = None,
    origins: Iterable[str] = (),
    **limits: float,
) -> OriginCheck:
    """Return the gateway with the parts that a site needs: origins, sessions, its path.

    Where the admin is installed, it also has the WebSocket of the page “Directus live”, at
    ``admin-live/`` below the path.

    Args:
        path: Path of the WebSocket, as in ``urls.py``.
        authenticate: See :class:`~directus_realtime.gateway.gateway.DirectusGateway`.
        origins: Further sites whose pages may connect, such as ``https://app.example.com``;
            those of ``ALLOWED_HOSTS`` may, and with ``*`` in it those of the requested host.
        limits: See :class:`~directus_realtime.gateway.browser_connections.BrowserLimits`.

    Raises:
        ValueError: A limit is not a number above 0.
    """
    gateway = DirectusGateway.as_asgi(authenticate=authenticate, **limits)
    routes: list[Any] = [url_path(path, gateway)]  # type: ignore[arg-type]
    if apps.is_installed("django.contrib.admin"):
        routes.append(live_urlpattern(f"{path.rstrip('/')}/admin-live/".lstrip("/")))
    return protected(URLRouter(routes), origins)


def protected(application: Any, origins: Iterable[str] = ()) -> OriginCheck:
    """Return an application of WebSockets behind a check of the origin and Django's sessions.

    For routers of your own that serve more than the gateway.

    Args:
        application: The application, for example a ``URLRouter``.
        origins: Further sites whose pages may connect.
    """
    return OriginCheck(AuthMiddlewareStack(application), origins)


class OriginCheck:
    """Refuses pages of other sites, whose requests have the cookies of ours.

    A connection without an ``Origin`` is not one of a browser, and allowed. A ``*`` in
    ``ALLOWED_HOSTS`` allows any name of the site, not any site.

    Args:
        application: The protected application.
        origins: Sites besides those of ``ALLOWED_HOSTS``.
    """

    def __init__(self, application: Any, origins: Iterable[str] = ()) -> None:
        hosts = settings.ALLOWED_HOSTS or (_LOCAL_HOSTS if settings.DEBUG else [])
        self._application = application
        self._has_any_name = "*" in hosts
        named = [host for host in hosts if host != "*"]
        self._validator = OriginValidator(application, [*named, *origins])

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Pass the connection to the application, or refuse it with 403."""
        if self._is_allowed(scope):
            # Sessions wrap ``send``, which would cost something for each frame.
            scope = {**scope, SERVER_SEND: send}
            await self._application(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close"})

    def _is_allowed(self, scope: dict[str, Any]) -> bool:
        given = [value for name, value in scope["headers"] if name == b"origin"]
        try:
            return all(self._is_ours(urlsplit(value.decode("latin-1")), scope) for value in given)
        except ValueError:  # no URL
            return False

    def _is_ours(self, origin: SplitResult, scope: dict[str, Any]) -> bool:
        if self._validator.validate_origin(origin):
            return True
        return self._has_any_name and origin.hostname in _requested_hosts(scope)


def _requested_hosts(scope: dict[str, Any]) -> set[str]:
    """Return the requested host as Django finds it; lower case, without a port."""
    header = b"x-forwarded-host" if settings.USE_X_FORWARDED_HOST else b"host"
    given = [value for name, value in scope["headers"] if name == header]
    hosts = (urlsplit(f"//{value.decode('latin-1')}").hostname for value in given)
    return {host for host in hosts if host}
