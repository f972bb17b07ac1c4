"""What browsers connect to in ``tests.benchmarks.fanout``: the gateway, and a plain consumer."""

from __future__ import annotations

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

django_application = get_asgi_application()

from directus_realtime.gateway import DirectusGateway  # noqa: E402
from directus_realtime.gateway.consumers import DirectusConsumer  # noqa: E402
from directus_realtime.gateway.routing import protected  # noqa: E402
from directus_realtime.groups import group_name  # noqa: E402


class ArticlesConsumer(DirectusConsumer):
    """A member of the channel layer for each browser, as Channels has it."""

    directus_groups = [group_name("articles")]


application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": protected(
            URLRouter(
                [
                    path("directus/", DirectusGateway.as_asgi()),
                    path("plain/", ArticlesConsumer.as_asgi()),
                ]
            )
        ),
    }
)
