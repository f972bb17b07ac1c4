"""Events for browsers: the gateway, and consumers for protocols of your own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from directus_realtime.gateway.gateway import DirectusGateway
    from directus_realtime.gateway.routing import directus_gateway

__all__ = ["DirectusGateway", "directus_gateway"]


def __getattr__(name: str) -> Any:
    # Late: they need the models, and parts of this package are imported before those.
    if name == "directus_gateway":
        from directus_realtime.gateway.routing import directus_gateway

        return directus_gateway
    if name == "DirectusGateway":
        from directus_realtime.gateway.gateway import DirectusGateway

        return DirectusGateway
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
