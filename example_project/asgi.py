"""HTTP goes to Django, WebSockets go to the gateway."""

from __future__ import annotations

import os

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

# Before the import below: the gateway needs the apps.
django_application = get_asgi_application()

from directus_realtime.gateway import directus_gateway  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": directus_gateway(),
    }
)
