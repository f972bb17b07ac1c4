"""The listener in a test's own process, on a fake Directus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from asgiref.sync import sync_to_async

from directus_realtime.health_facts import SOCKET_ONLY
from directus_realtime.listener.listener import Listener
from directus_realtime.models import DirectusSubscription, InboxEvent, InboxState, SubscriptionState
from directus_realtime.protocol.messages import ACTIONS
from directus_realtime.settings import DEFAULT_ALIAS, ConnectionSettings
from directus_realtime.testing.fake import FakeDirectus

#: Seconds: a deadline for every wait.
TIMEOUT = 10.0
_POLL_INTERVAL = 0.02


class RunningListener:
    """A running listener; made by :func:`listening`."""

    def __init__(self, task: asyncio.Task[None], fake: FakeDirectus) -> None:
        self._task = task
        self._fake = fake

    async def subscribed(self, timeout: float = TIMEOUT) -> None:
        """Wait until Directus has confirmed all enabled subscriptions.

        Args:
            timeout: Seconds.

        Raises:
            AssertionError: One was refused; the message is Directus's.
            TimeoutError: One was not confirmed in time.
        """
        await self._until(_all_subscribed, timeout)
        watched = await sync_to_async(_socket_only_collections)()
        await self._fake.wait_for(lambda fake: watched <= _announced(fake), timeout)

    async def delivered(self, count: int = 1, timeout: float = TIMEOUT) -> None:
        """Wait until the receivers have processed a number of events.

        Args:
            count: All events since the start of the test.
            timeout: Seconds.

        Raises:
            AssertionError: A receiver failed, with its traceback.
            TimeoutError: Fewer events were delivered in time.
        """
        await self._until(lambda: _delivered(count), timeout)

    async def _until(self, condition: Callable[[], bool], timeout: float) -> None:
        async with asyncio.timeout(timeout):
            while not await sync_to_async(condition)():
                if self._task.done():
                    self._task.result()
                # The database sends no notification of a change.
                await asyncio.sleep(_POLL_INTERVAL)


@asynccontextmanager
async def listening(fake: FakeDirectus, **settings: Any) -> AsyncIterator[RunningListener]:
    """Run the listener on a fake Directus, as ``directus_listen`` does, for a block.

    The block begins when all enabled subscriptions are confirmed. A failed receiver is not
    retried, unless ``retry_attempts`` is set.

    Args:
        fake: The server of the connection ``default``.
        settings: More settings of the connection, in lower case, for example
            ``catch_up_interval=0.1`` or ``token="…"`` of another user.
    """
    given = {"url": fake.url, "token": fake.token, "retry_attempts": 1, **settings}
    connection = ConnectionSettings(DEFAULT_ALIAS, **given)
    stopping = asyncio.Event()
    task = asyncio.create_task(Listener([connection]).run(stopping))
    listener = RunningListener(task, fake)
    try:
        await listener.subscribed()
        yield listener
    finally:
        stopping.set()
        await asyncio.wait_for(task, TIMEOUT)


def _all_subscribed() -> bool:
    states = []
    for subscription in DirectusSubscription.objects.followed().filter(connection=DEFAULT_ALIAS):
        refused = subscription.state == SubscriptionState.REFUSED
        assert not refused, f"{subscription.name} was refused: {subscription.last_error}"  # noqa: S101
        # With a position in the activity log, every later change is found there.
        is_followed = subscription.followed_from is not None or _is_socket_only(subscription)
        states.append(subscription.state == SubscriptionState.SUBSCRIBED and is_followed)
    return all(states)


def _is_socket_only(subscription: DirectusSubscription) -> bool:
    return subscription.last_error.startswith(SOCKET_ONLY)


def _socket_only_collections() -> set[tuple[str, str | None]]:
    """Return the socket-only collections, with each action."""
    enabled = DirectusSubscription.objects.followed().filter(connection=DEFAULT_ALIAS)
    collections = {each.collection for each in enabled if _is_socket_only(each)}
    return {(collection, action) for collection in collections for action in ACTIONS}


def _announced(fake: FakeDirectus) -> set[tuple[str, str | None]]:
    return {(collection, action) for collection, action, _ in fake.subscriptions}


def _delivered(count: int) -> bool:
    for dead in InboxEvent.objects.filter(state=InboxState.DEAD):
        raise AssertionError(f"A receiver failed with {dead}: {dead.failures}")
    return InboxEvent.objects.filter(state=InboxState.DONE).count() >= count
