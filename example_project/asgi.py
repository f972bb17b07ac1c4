"""HTTP goes to Django, WebSockets go to the consumers."""

from __future__ import annotations

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

# Before the import below: the consumers need the apps.
django_application = get_asgi_application()

from directus_realtime.gateway import DirectusGateway  # noqa: E402
from directus_realtime.gateway.live_feed import live_urlpattern  # noqa: E402
from directus_realtime.gateway.routing import protected  # noqa: E402
from example_project.articles.routing import websocket_urlpatterns  # noqa: E402

gateway = path("ws/directus/", DirectusGateway.as_asgi())  # type: ignore[arg-type]

application = ProtocolTypeRouter(
    {
        "http": django_application,
        # Without a consumer of its own, a site writes "websocket": directus_gateway().
        "websocket": protected(URLRouter([*websocket_urlpatterns, gateway, live_urlpattern()])),
    }
)
