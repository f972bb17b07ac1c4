"""HTTP goes to Django, WebSockets go to the gateway and to the admin's live page."""

from __future__ import annotations

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

# Before the imports below: the gateway needs the apps.
django_application = get_asgi_application()

from directus_realtime.gateway import DirectusGateway  # noqa: E402
from directus_realtime.gateway.live_consumer import live_urlpattern  # noqa: E402
from directus_realtime.gateway.routing import protected  # noqa: E402

gateway = path("directus/", DirectusGateway.as_asgi())  # type: ignore[arg-type]

application = ProtocolTypeRouter(
    {
        "http": django_application,
        # Without the live page, a site writes "websocket": directus_gateway().
        "websocket": protected(URLRouter([gateway, live_urlpattern()])),
    }
)
