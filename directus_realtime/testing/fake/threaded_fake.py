"""A fake Directus for code without an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, overload

from directus_realtime.testing.fake.fake_collection import Item, Key
from directus_realtime.testing.fake.fake_directus import FakeDirectus

CALL_TIMEOUT = 30.0  # seconds


class ThreadedFakeDirectus:
    """Synchronous interface of a fake Directus that runs in its own thread.

    Made by :func:`run_in_thread`. All methods may be called from any thread.
    """

    def __init__(self, fake: FakeDirectus, loop: asyncio.AbstractEventLoop) -> None:
        self._fake = fake
        self._loop = loop
        self.url = fake.url
        self.websocket_url = fake.websocket_url

    def __repr__(self) -> str:
        return f"<ThreadedFakeDirectus {self.url}>"

    @property
    def token(self) -> str:
        """See :attr:`FakeDirectus.token`."""
        return self._fake.token

    def call(self, function: Callable[[FakeDirectus], Any]) -> Any:
        """Call a function with the fake in the fake's thread, and return its result.

        Args:
            function: For example ``lambda fake: fake.cut()``.
        """

        async def run() -> Any:
            result = function(self._fake)
            return await result if isinstance(result, Awaitable) else result

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(CALL_TIMEOUT)

    def items(self, collection: str) -> list[Item]:
        """See :meth:`FakeDirectus.items`."""
        items: list[Item] = self.call(lambda fake: fake.items(collection))
        return items

    @overload
    def create(self, collection: str, data: Item) -> Item: ...

    @overload
    def create(self, collection: str, data: list[Item]) -> list[Item]: ...

    def create(self, collection: str, data: Any) -> Any:
        """See :meth:`FakeDirectus.create`."""
        return self.call(lambda fake: fake.create(collection, data))

    def update(self, collection: str, keys: Key | Sequence[Key], data: Item) -> None:
        """See :meth:`FakeDirectus.update`."""
        self.call(lambda fake: fake.update(collection, keys, data))

    def delete(self, collection: str, keys: Key | Sequence[Key]) -> None:
        """See :meth:`FakeDirectus.delete`."""
        self.call(lambda fake: fake.delete(collection, keys))


@contextlib.contextmanager
def run_in_thread(**options: Any) -> Iterator[ThreadedFakeDirectus]:
    """Run a fake Directus in a thread for the duration of the context.

    Args:
        **options: Arguments of :class:`FakeDirectus`.
    """
    started: Future[tuple[ThreadedFakeDirectus, asyncio.Event]] = Future()
    # asyncio.run() also cancels the tasks of a connection made at the last moment.
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve(options, started)), name="fake-directus", daemon=True
    )
    thread.start()
    fake, stop = started.result(CALL_TIMEOUT)
    try:
        yield fake
    finally:
        fake.call(lambda _: stop.set())
        thread.join()


async def _serve(
    options: dict[str, Any], started: Future[tuple[ThreadedFakeDirectus, asyncio.Event]]
) -> None:
    stop = asyncio.Event()
    try:
        async with FakeDirectus(**options) as fake:
            started.set_result((ThreadedFakeDirectus(fake, asyncio.get_running_loop()), stop))
            await stop.wait()
    except Exception as error:
        if started.done():
            raise
        started.set_exception(error)
