"""Reading metrics as Prometheus does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.request import ProxyHandler, build_opener

import pytest
from asgiref.sync import sync_to_async
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from directus_realtime.listener.listener import Listener
from directus_realtime.listener.metrics.metrics_server import Sampler, serving_metrics
from tests.helpers.waiting import POLL_INTERVAL

TIMEOUT = 10.0  # seconds: a deadline, never a wait
PREFIX = "directus_realtime_"


class Endpoint:
    """The metrics of a listener in this process; counters go on from test to test."""

    def __init__(self, url: str, sampler: Sampler) -> None:
        self._url = url
        self._before: dict[str, float] = {}
        self.sampler = sampler

    def families(self) -> list[Metric]:
        """What is served now."""
        with build_opener(ProxyHandler({})).open(self._url, timeout=10) as answer:
            return list(text_string_to_metric_families(answer.read().decode()))

    def read(self) -> dict[str, float]:
        """The series, without the prefix, and counters since :meth:`reset`."""
        found = {}
        for family in self.families():
            for sample in family.samples:
                labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
                name = f"{sample.name.removeprefix(PREFIX)}{{{labels}}}"
                is_counter = family.type in ("counter", "histogram")
                before = self._before.get(name, 0) if is_counter else 0
                found[name] = sample.value - before
        return found

    def reset(self) -> None:
        """Count from here."""
        self._before = {}
        self._before = self.read()

    async def until(self, **wanted: float) -> dict[str, float]:
        """Wait for the values of series of ``default``, by the name of the metric."""
        names = {f"{name}{{connection=default}}": value for name, value in wanted.items()}
        return await self.until_all(names)

    async def until_all(self, wanted: dict[str, float]) -> dict[str, float]:
        """Wait for the values of series."""
        found: dict[str, float] = {}
        try:
            async with asyncio.timeout(TIMEOUT):
                while not wanted.items() <= found.items():
                    await asyncio.sleep(POLL_INTERVAL)
                    # In a thread: the listener goes on meanwhile.
                    found = await asyncio.to_thread(self.read)
        except TimeoutError:
            raise AssertionError({name: found.get(name) for name in wanted}) from None
        return found


@asynccontextmanager
async def endpoint(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Endpoint]:
    """Serve metrics; listeners that are made in the block are looked at."""
    caplog.set_level(logging.INFO, "directus_realtime")
    serving = serving_metrics("127.0.0.1", 0)
    sampler = serving.__enter__()
    address = next(r.address for r in caplog.records if r.event == "metrics-served")  # type: ignore[attr-defined]
    monkeypatch.setitem(Listener.__init__.__kwdefaults__, "sampler", sampler)
    metrics = Endpoint(f"http://{address}/metrics", sampler)
    metrics.reset()
    try:
        yield metrics
    finally:
        # Its thread is joined, and whoever joins must not hold up the loop.
        await sync_to_async(serving.__exit__, thread_sensitive=False)(None, None, None)
