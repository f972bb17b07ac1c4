"""The WebSocket of the admin's page “Directus live”."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from datetime import datetime
from typing import Any, ClassVar

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.contrib.auth import get_user_model
from django.urls import URLPattern, path
from django.utils import timezone

from directus_realtime.gateway.access_recheck import is_session_valid
from directus_realtime.gateway.browser_connections import SERVER_ERROR
from directus_realtime.gateway.group_subscriber import GroupMembership
from directus_realtime.groups import connection_group_name, group_name
from directus_realtime.models import DirectusSubscription
from directus_realtime.settings import aliases
from directus_realtime.utils.aio import Wakeup, cancel_all
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.site_code import contained
from directus_realtime.utils.system_clock import SystemClock

logger = EventLogger("directus_realtime.gateway")

#: Permissions that the page requires.
MAY_WATCH = ("directus_realtime.view_connectionstatus", "directus_realtime.view_inboxevent")
#: Default path of the WebSocket.
DEFAULT_PATH = "directus/admin-live/"
#: Events of one frame, and seconds between two frames: more cannot be read.
MOST, PAUSE = 50, 0.25
#: Seconds between two checks of the subscriptions, and of the user's rights.
CHECK_INTERVAL = 5.0
#: Failed checks in a row after which the connection is closed, because the user's rights are
#: not known any more.
MAX_FAILURES = 3
#: Close code of a connection whose user may not see the page any more.
NOT_ALLOWED = 4403


class LiveConsumer(AsyncJsonWebsocketConsumer):
    """Sends the page each delivered event, in a few frames per second.

    A member of the groups of all subscriptions. The page polls regularly, too, so messages
    that the channel layer loses are only late.

    Attributes:
        mounted_at: The path at which this process serves it; ``None`` if it does not.
    """

    mounted_at: ClassVar[str | None] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        self._clock = SystemClock()
        self._membership: GroupMembership | None = None
        self._events: deque[dict[str, Any]] = deque(maxlen=MOST)
        self._left_out = False
        self._arrived = Wakeup(self._clock)
        self._tasks: list[asyncio.Task[None]] = []

    async def connect(self) -> None:
        """Accept users who may see the page, and join the groups."""
        if self.channel_layer is None or not await _may_watch(self.scope, self._clock.now()):
            await self.close(NOT_ALLOWED)  # type: ignore[no-untyped-call]
            return
        self._membership = GroupMembership(self.channel_layer, self.channel_name, self._clock)
        # First, so that the page misses nothing once it is connected.
        await self._membership.sync(await _groups())
        await self.accept()  # type: ignore[no-untyped-call]
        self._tasks = [
            asyncio.create_task(self._send()),
            asyncio.create_task(self._check(self._membership)),
        ]

    async def disconnect(self, code: int) -> None:
        """Leave the groups."""
        await cancel_all(self._tasks)
        if self._membership is not None:
            with suppress(Exception):  # an unavailable layer forgets members by itself
                await self._membership.sync(())

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
    ) -> None:
        """Ignore messages: the page sends none."""

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Queue events without the thread hop that Channels makes for each message."""
        if message["type"] == "directus.event":
            self._left_out = self._left_out or len(self._events) == MOST
            received_at = datetime.fromisoformat(message["received_at"])
            self._events.append(summary(**{**message, "received_at": received_at}))
            self._arrived.set()
        else:
            await super().dispatch(message)  # type: ignore[no-untyped-call]

    async def directus_connection(self, message: dict[str, Any]) -> None:
        """Handle the group message of a connection's state: the page requests the rest."""
        await self.send_json({"type": "connection", "connection": message["connection"]})  # type: ignore[no-untyped-call]

    async def _send(self) -> None:
        while True:
            await self._arrived.wait()
            frame = {"type": "events", "events": list(self._events), "left_out": self._left_out}
            self._events.clear()
            self._left_out = False
            try:
                await self.send_json(frame)  # type: ignore[no-untyped-call]
            except Exception as error:
                logger.debug(
                    "live-page-untold", "The live page could not be told of events: %s", error
                )
                await self._give_up()
                return
            await self._clock.sleep(PAUSE)

    async def _check(self, membership: GroupMembership) -> None:
        """Join the groups of new subscriptions; close when the user may not see the page."""
        failures = 0
        while failures < MAX_FAILURES:
            await self._clock.sleep(CHECK_INTERVAL)
            try:
                with contained():
                    may_watch = await _may_watch(self.scope, self._clock.now())
                if may_watch:
                    await membership.sync(await _groups())
            except Exception as error:  # of the database, of the layer, of a user model
                failures += 1
                logger.warning(
                    "live-page-unchecked",
                    "The live page's rights cannot be checked: %s: %s",
                    type(error).__name__,
                    error,
                )
                continue
            failures = 0
            if not may_watch:
                await self.close(NOT_ALLOWED)  # type: ignore[no-untyped-call]
                return
        await self._give_up()

    async def _give_up(self) -> None:
        """Close the connection; the page reconnects by itself."""
        with suppress(Exception):  # it may be closed already
            await self.close(SERVER_ERROR)  # type: ignore[no-untyped-call]


def live_urlpattern(route: str = DEFAULT_PATH) -> URLPattern:
    """Return the route of the page's WebSocket, for a ``URLRouter`` with users and origins.

    Args:
        route: Its path, without a slash at the beginning.
    """
    LiveConsumer.mounted_at = route
    return path(route, LiveConsumer.as_asgi())  # type: ignore[no-untyped-call]


def summary(
    *,
    id: str,  # noqa: A002 - as in a group message
    received_at: datetime,
    subscription: str,
    collection: str,
    action: str,
    key: Any,
    origin: str,
    **others: Any,
) -> dict[str, Any]:
    """Return the event as the page lists it: without the payload, which it requests.

    Args:
        others: The other values of a group message.
    """
    return {
        "id": id,
        "time": f"{timezone.localtime(received_at):%H:%M:%S}",
        "subscription": subscription,
        "collection": collection,
        "action": action,
        "key": str(key),
        "origin": origin,
    }


@database_sync_to_async
def _may_watch(scope: dict[str, Any], now: datetime) -> bool:
    """Return whether the user may still see the page, and is still signed in."""
    user = scope.get("user")
    if user is None or not user.is_authenticated:
        return False
    found = get_user_model()._default_manager.filter(pk=user.pk).first()
    return bool(
        found
        and found.is_active
        and getattr(found, "is_staff", False)
        and found.has_perms(MAY_WATCH)
        and is_session_valid(scope.get("session"), found, now)
    )


@database_sync_to_async
def _groups() -> set[str]:
    """Return the groups of all events and all connections' states."""
    rows = DirectusSubscription.objects.followed().filter(connection__in=aliases())
    groups = {
        group or group_name(collection, connection=connection)
        for group, collection, connection in rows.values_list("group", "collection", "connection")
    }
    return groups | {connection_group_name(alias) for alias in aliases()}
