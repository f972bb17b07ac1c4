"""The admin: what to listen to, what came in, and how it stands."""

from __future__ import annotations

from directus_realtime.admin.connections import ConnectionStatusAdmin, ListenerProcessAdmin
from directus_realtime.admin.inbox import InboxEventAdmin
from directus_realtime.admin.live import LiveAdmin
from directus_realtime.admin.parked_changes import ParkedChangeAdmin
from directus_realtime.admin.subscriptions import DirectusSubscriptionAdmin

__all__ = [
    "ConnectionStatusAdmin",
    "DirectusSubscriptionAdmin",
    "InboxEventAdmin",
    "ListenerProcessAdmin",
    "LiveAdmin",
    "ParkedChangeAdmin",
]
