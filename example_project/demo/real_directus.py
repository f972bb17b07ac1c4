"""A real Directus for the demo, from npm; ``seed_directus`` fills it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from example_project.demo.ports import directus_port
from example_project.demo.state import FOLDER
from example_project.demo.steps import StepFailed, Steps
from example_project.real_directus import DirectusServer, DirectusUnavailable, install
from example_project.real_directus.npm import is_installed

WORKDIR = FOLDER / "directus"


@contextlib.contextmanager
def running(steps: Steps) -> Iterator[DirectusServer]:
    """Install it if need be, start it, and stop it in the end."""
    server = DirectusServer(port=directus_port(), workdir=WORKDIR)
    sentence = f"Starting Directus {server.version}"
    if not is_installed(server.version):
        sentence = f"Installing Directus {server.version} with npm (once, 3 to 4 minutes)"
    try:
        with steps.step(sentence):
            _start(server)
        yield server
    finally:
        server.close()


def _start(server: DirectusServer) -> None:
    try:
        install(server.version, log=lambda sentence: None)
        server.start()
    except (DirectusUnavailable, RuntimeError) as error:
        raise StepFailed(f"{error}\nThe demo without it: make demo") from None
