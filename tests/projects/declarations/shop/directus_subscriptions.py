from __future__ import annotations

from directus_realtime import Subscription, register

register(Subscription("orders", collection="authors"))
