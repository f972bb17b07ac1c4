"""Directus item changes as Django signals and Channels group messages."""

from __future__ import annotations

from directus_realtime.events import Event
from directus_realtime.subscriptions import Browsers, Subscription, register

__all__ = ["Browsers", "Event", "Subscription", "__version__", "register"]

__version__ = "0.1.0"
