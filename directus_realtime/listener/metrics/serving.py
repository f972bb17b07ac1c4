"""The endpoint of ``directus_listen --metrics``."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from django.core.exceptions import ImproperlyConfigured

from directus_realtime.listener.metrics.counts import counts
from directus_realtime.listener.metrics.sampling import Sampler

logger = logging.getLogger("directus_realtime.listener")


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
    from directus_realtime.listener.metrics.exposition import ListenerCollector

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
            extra={"what": "metrics-served", "address": address},
        )
        yield sampler
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def shown_address(host: str, port: int) -> str:
    """A host and a port, as they are written in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
