"""Ports on 127.0.0.1."""

from __future__ import annotations

import os
import socket

from example_project.demo.steps import StepFailed

HOST = "127.0.0.1"
DEFAULT_PORT = 8000
DIRECTUS_PORT = 8055


def site_port() -> int:
    """The port of the site: ``PORT``, or 8000.

    Raises:
        StepFailed: It is not a port, or something else uses it.
    """
    text = os.environ.get("PORT") or str(DEFAULT_PORT)
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise StepFailed(f"PORT is {text!r}; it must be a number from 1 to 65535.")
    port = int(text)
    if not is_free(port):
        raise StepFailed(
            f"Port {port} is in use. Stop what uses it, or choose another port: "
            f"make demo PORT={port + 1}"
        )
    return port


def directus_port() -> int:
    """Directus's usual port, or a free one where that is in use."""
    if is_free(DIRECTUS_PORT):
        return DIRECTUS_PORT
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether a server could listen on a port."""
    with socket.socket() as probe:
        # As servers do: a connection that has just ended does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
