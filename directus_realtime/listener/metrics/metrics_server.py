"""The metrics endpoint of ``directus_listen --metrics``, and the samples of the database for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import NoReturn

from django.core.exceptions import ImproperlyConfigured

from directus_realtime.database import DatabaseThread
from directus_realtime.health import gather
from directus_realtime.health_facts import ConnectionHealth, HealthThresholds
from directus_realtime.listener.metrics.counts import counts

logger = logging.getLogger("directus_realtime.listener")

#: Seconds between two samples.
SAMPLE_INTERVAL = 5.0
#: Seconds after which a sample is outdated: the database is unavailable.
STALE = 30.0


@dataclass(frozen=True)
class HealthSample:
    """Health of the connections at one moment.

    Attributes:
        connections: One entry for each connection.
        taken_at: By the monotonic clock.
    """

    connections: list[ConnectionHealth]
    taken_at: float

    @property
    def is_fresh(self) -> bool:
        """Whether it is recent enough to be published."""
        return monotonic() - self.taken_at < STALE


class Sampler:
    """Takes samples while this process is active.

    The database is the same for all listeners: with samples from each, sums would be too large.
    """

    def __init__(self) -> None:
        self._sample: HealthSample | None = None

    @property
    def sample(self) -> HealthSample | None:
        """The latest sample; ``None`` while standing by, or without a database."""
        return self._sample if self._sample and self._sample.is_fresh else None

    async def run(self, aliases: Sequence[str]) -> NoReturn:
        """Take samples until cancelled.

        Args:
            aliases: Of the connections.
        """
        database = DatabaseThread("metrics")
        try:
            while True:
                self._sample = await database.run_with_retry(take_sample, aliases)
                await asyncio.sleep(SAMPLE_INTERVAL)
        finally:
            self._sample = None
            database.close_soon()


def take_sample(aliases: Sequence[str]) -> HealthSample:
    """Read the health of connections from the database."""
    return HealthSample(gather(aliases, HealthThresholds()), monotonic())


@contextlib.contextmanager
def serving_metrics(host: str, port: int) -> Iterator[Sampler]:
    """Serve metrics at ``http://HOST:PORT/metrics`` for a block, in a thread of its own.

    Args:
        host: Address to listen on.
        port: To listen on; 0 for any that is free.

    Yields:
        What the listener is to run while it is active.

    Raises:
        ImproperlyConfigured: The library is not installed, or the address cannot be had.
    """
    try:
        from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
    except ImportError:
        raise ImproperlyConfigured(
            "Metrics need the library prometheus_client. "
            'Install it: pip install "django-directus-realtime[metrics]"'
        ) from None

    from directus_realtime.listener.metrics.prometheus import ListenerCollector

    sampler = Sampler()
    registry = CollectorRegistry()
    registry.register(ListenerCollector(counts, lambda: sampler.sample))
    ProcessCollector(registry=registry)
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImproperlyConfigured(
            f"Metrics cannot be served at {shown_address(host, port)}: {reason}."
        ) from None
    try:
        address = shown_address(host, server.server_port)
        logger.info(
            "metrics at http://%s/metrics",
            address,
            extra={"event": "metrics-served", "address": address},
        )
        yield sampler
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def shown_address(host: str, port: int) -> str:
    """A host and a port, as they are written in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
