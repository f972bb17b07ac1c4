"""A web process of a site, on a real ASGI server."""

from __future__ import annotations

import socket

from tests.helpers.process import Process
from tests.helpers.site import Site
from tests.helpers.waiting import wait_for


def start_web(site: Site, application: str, server: str, port: int, **env: str) -> Process:
    """Start it, and wait until it listens.

    Args:
        site: Whose it is.
        application: Such as ``tests.gateway_asgi:application``.
        server: ``daphne`` or ``uvicorn``.
        port: On 127.0.0.1.
        env: Added to the environment.
    """
    arguments = {
        "daphne": ("-b", "127.0.0.1", "-p", str(port), "--verbosity", "0"),
        "uvicorn": (
            *("--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"),
            *("--ws-per-message-deflate", "false"),
        ),
    }
    process = site.start(application, *arguments[server], module=server, **env)

    def listens() -> bool:
        assert not process.has_ended, process.output
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_for(listens, what=f"{server} to listen")
    return process
