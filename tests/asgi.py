"""A site that mounts the gateway, as the README says."""

from __future__ import annotations

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from directus_realtime.gateway import directus_gateway  # noqa: E402

application = ProtocolTypeRouter({"http": django_application, "websocket": directus_gateway()})
