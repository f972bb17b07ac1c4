"""The tests' settings with the gateway, for a server to run.

``directus/`` goes by the session, ``token/`` by a token. ``GATEWAY_LIMITS`` has limits of the
gateway, as JSON.
"""

from __future__ import annotations

import json
import os
from typing import Any

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

django_application = get_asgi_application()

from django.contrib.auth import get_user_model  # noqa: E402
from django.core import signing  # noqa: E402

from directus_realtime.gateway import DirectusGateway  # noqa: E402
from directus_realtime.gateway.routing import protected  # noqa: E402


def user_of(token: str, scope: dict[str, Any]) -> Any:
    """The user whose name was signed."""
    try:
        return get_user_model().objects.filter(username=signing.loads(token)).first()
    except signing.BadSignature:
        return None


limits = json.loads(os.environ.get("GATEWAY_LIMITS", "{}"))
application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": protected(
            URLRouter(
                [
                    path("directus/", DirectusGateway.as_asgi(**limits)),
                    path("token/", DirectusGateway.as_asgi(authenticate=user_of, **limits)),
                ]
            )
        ),
    }
)
