"""A client of Directus realtime, usable without Django.

::

    async with DirectusClient("https://cms.example.com", token="…") as client:
        subscription = await client.subscribe("articles", fields=["id", "title"])
        async for event in subscription:
            print(event.action, event.key, event.data)
"""

from __future__ import annotations

from directus_realtime.client.client import DirectusClient
from directus_realtime.client.client_subscription import ClientSubscription
from directus_realtime.client.connection import ConnectionState, StateChange
from directus_realtime.client.doorbells import Ring, SocketDoorbell
from directus_realtime.client.items import CurrentItems
from directus_realtime.client.options import ClientOptions

__all__ = [
    "ClientOptions",
    "ClientSubscription",
    "ConnectionState",
    "CurrentItems",
    "DirectusClient",
    "Ring",
    "SocketDoorbell",
    "StateChange",
]
