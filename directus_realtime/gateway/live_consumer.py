"""The WebSocket of the admin's page “Directus live”."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from datetime import datetime
from time import monotonic
from typing import Any, ClassVar

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.contrib.auth import get_user_model
from django.urls import URLPattern, path
from django.utils import timezone

from directus_realtime.gateway.access_recheck import still_stands_for
from directus_realtime.gateway.limits import REJOIN_AFTER, SERVER_ERROR
from directus_realtime.groups import connection_group_name, group_name
from directus_realtime.models import DirectusSubscription
from directus_realtime.settings import aliases

logger = logging.getLogger("directus_realtime.gateway")

#: What it takes to see the page.
MAY_WATCH = ("directus_realtime.view_connectionstatus", "directus_realtime.view_inboxevent")
#: Where it is mounted unless somebody says otherwise.
DEFAULT_PATH = "directus/admin-live/"
#: Events of one frame, and seconds between two: more than that nobody can read.
MOST, PAUSE = 50, 0.25
#: Seconds between two looks at the subscriptions, and at the user's rights.
LOOK_INTERVAL = 5.0
#: Looks in a row that may fail; after more nobody knows whether the user may still watch.
PATIENCE = 3
#: Close code of a connection whose user may not watch any more.
NOT_ALLOWED = 4403


class LiveConsumer(AsyncJsonWebsocketConsumer):
    """Tells the page of each event that is delivered, in frames of a few a second.

    A member of the groups of all subscriptions. The page polls now and then, too, so what the
    channel layer loses is only late.

    Attributes:
        mounted_at: The path at which this process serves it; ``None`` where it does not.
    """

    mounted_at: ClassVar[str | None] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        self._joined: set[str] = set()
        self._joined_at = monotonic()
        self._waiting: deque[dict[str, Any]] = deque(maxlen=MOST)
        self._left_out = False
        self._arrived = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def connect(self) -> None:
        """Accept who may see the page, and join the groups."""
        if self.channel_layer is None or not await _may_watch(self.scope):
            await self.close(NOT_ALLOWED)  # type: ignore[no-untyped-call]
            return
        # First, so that the page misses nothing from the moment on that it is connected.
        await self._join()
        await self.accept()  # type: ignore[no-untyped-call]
        self._tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._look_after())]

    async def disconnect(self, code: int) -> None:
        """Leave the groups."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(Exception):  # a layer that is away forgets members by itself
            for group in self._joined:
                await self.channel_layer.group_discard(group, self.channel_name)

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
    ) -> None:
        """The page says nothing, and whatever else says something is not listened to."""

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Take events without the thread hop that Channels makes for each message."""
        if message["type"] == "directus.event":
            self._left_out = self._left_out or len(self._waiting) == MOST
            received_at = datetime.fromisoformat(message["received_at"])
            self._waiting.append(summary(**{**message, "received_at": received_at}))
            self._arrived.set()
        else:
            await super().dispatch(message)  # type: ignore[no-untyped-call]

    async def directus_connection(self, message: dict[str, Any]) -> None:
        """Handle the group message of a connection's state: the page asks for the rest."""
        await self.send_json({"type": "connection", "connection": message["connection"]})  # type: ignore[no-untyped-call]

    async def _send(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            frame = {"type": "events", "events": list(self._waiting), "left_out": self._left_out}
            self._waiting.clear()
            self._left_out = False
            try:
                await self.send_json(frame)  # type: ignore[no-untyped-call]
            except Exception as error:
                logger.debug(
                    "The live page could not be told of events: %s",
                    error,
                    extra={"event": "live-page-untold"},
                )
                await self._give_up()
                return
            await asyncio.sleep(PAUSE)

    async def _look_after(self) -> None:
        """Join the groups of new subscriptions, and end when the user may not watch any more."""
        failed = 0
        while failed < PATIENCE:
            await asyncio.sleep(LOOK_INTERVAL)
            try:
                may_watch = await _may_watch(self.scope)
                if may_watch:
                    await self._join()
            except Exception as error:  # of the database, of the layer, of a user model
                failed += 1
                logger.warning(
                    "The live page's rights cannot be checked: %s: %s",
                    type(error).__name__,
                    error,
                    extra={"event": "live-page-unchecked"},
                )
                continue
            failed = 0
            if not may_watch:
                await self.close(NOT_ALLOWED)  # type: ignore[no-untyped-call]
                return
        await self._give_up()

    async def _give_up(self) -> None:
        """Close the connection; the page comes again by itself."""
        with suppress(Exception):  # it may be gone already
            await self.close(SERVER_ERROR)  # type: ignore[no-untyped-call]

    async def _join(self) -> None:
        wanted = await _groups()
        is_due = monotonic() - self._joined_at > REJOIN_AFTER
        for group in wanted if is_due else wanted - self._joined:
            await self.channel_layer.group_add(group, self.channel_name)
            self._joined.add(group)
        for group in self._joined - wanted:
            await self.channel_layer.group_discard(group, self.channel_name)
            self._joined.discard(group)
        if is_due:
            self._joined_at = monotonic()


def live_urlpattern(route: str = DEFAULT_PATH) -> URLPattern:
    """The route of the page's WebSocket, for a ``URLRouter`` that knows users and origins.

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
    """What the page shows of an event: all but the payload, which it asks for.

    Args:
        others: What else a group message has.
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
def _may_watch(scope: dict[str, Any]) -> bool:
    """Whether the user, as the database has it now, may see the page and is still signed in."""
    user = scope.get("user")
    if user is None or not user.is_authenticated:
        return False
    found = get_user_model()._default_manager.filter(pk=user.pk).first()
    return bool(
        found
        and found.is_active
        and getattr(found, "is_staff", False)
        and found.has_perms(MAY_WATCH)
        and still_stands_for(scope.get("session"), found)
    )


@database_sync_to_async
def _groups() -> set[str]:
    """The groups that all events and all connections' states are sent to."""
    rows = DirectusSubscription.objects.filter(enabled=True, connection__in=aliases())
    groups = {
        group or group_name(collection, connection=connection)
        for group, collection, connection in rows.values_list("group", "collection", "connection")
    }
    return groups | {connection_group_name(alias) for alias in aliases()}
