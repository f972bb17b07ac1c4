"""The WebSocket of the admin's live page, for a router of your own.

::

    URLRouter([*websocket_urlpatterns, …])

Only ``asgi.py`` imports it: what is imported here is taken for mounted.
"""

from __future__ import annotations

from directus_realtime.admin.live_consumer import live_urlpattern

websocket_urlpatterns = [live_urlpattern()]
