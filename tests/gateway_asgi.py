"""The tests' settings with the gateway, for a server to run."""

from __future__ import annotations

import os

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from directus_realtime.gateway import directus_gateway  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": directus_gateway(
            max_unread=int(os.environ.get("GATEWAY_MAX_UNREAD", 4 * 1024 * 1024))
        ),
    }
)
