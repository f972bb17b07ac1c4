"""The admin: subscriptions, inbox and the health of the connections."""

from __future__ import annotations

from directus_realtime.admin.connection_admin import (
    ConnectionStatusAdmin,
    ListenerProcessAdmin,
    ParkedChangeAdmin,
)
from directus_realtime.admin.inbox_admin import InboxEventAdmin
from directus_realtime.admin.live_admin import LiveAdmin
from directus_realtime.admin.subscription_admin import DirectusSubscriptionAdmin

__all__ = [
    "ConnectionStatusAdmin",
    "DirectusSubscriptionAdmin",
    "InboxEventAdmin",
    "ListenerProcessAdmin",
    "LiveAdmin",
    "ParkedChangeAdmin",
]
