"""Metrics endpoint of ``directus_listen --metrics``, and the samples of health that it serves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import NoReturn

from django.core.exceptions import ImproperlyConfigured

from directus_realtime.database import DatabaseThread
from directus_realtime.health import gather
from directus_realtime.health_facts import ConnectionHealth, HealthThresholds
from directus_realtime.listener.metrics.counts import counts
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.system_clock import SystemClock

logger = EventLogger("directus_realtime.listener")

#: Seconds between two samples.
SAMPLE_INTERVAL = 5.0
#: Seconds after which a sample is outdated: the database is unavailable.
STALE = 30.0


class Sampler:
    """Samples the health of connections while this process is active.

    The database is the same for all listeners: with samples from each, sums would be too large.

    Args:
        clock: The clock.
    """

    def __init__(self, clock: SystemClock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._sample: list[ConnectionHealth] = []
        self._sampled_at = 0.0

    @property
    def sample(self) -> list[ConnectionHealth]:
        """The latest sample; empty while standing by, or without a database."""
        is_fresh = self._clock.monotonic() - self._sampled_at < STALE
        return self._sample if is_fresh else []

    async def run(self, aliases: Sequence[str]) -> NoReturn:
        """Sample connections until cancelled.

        Args:
            aliases: Aliases of the connections.
        """
        database = DatabaseThread("metrics")
        try:
            while True:
                sample = await database.run_with_retry(gather, aliases, HealthThresholds())
                self._sample, self._sampled_at = sample, self._clock.monotonic()
                await self._clock.sleep(SAMPLE_INTERVAL)
        finally:
            self._sample = []
            database.close_soon()


@contextlib.contextmanager
def serving_metrics(host: str, port: int) -> Iterator[Sampler]:
    """Serve metrics at ``http://HOST:PORT/metrics`` for a block, in a separate thread.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.

    Yields:
        The sampler to run while the listener is active.

    Raises:
        ImproperlyConfigured: The library is not installed, or the address is not available.
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
            f"Metrics cannot be served at {_shown_address(host, port)}: {reason}."
        ) from None
    try:
        address = _shown_address(host, server.server_port)
        logger.info("metrics-served", "metrics at http://%s/metrics", address, address=address)
        yield sampler
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _shown_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
