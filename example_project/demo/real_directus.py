"""A real Directus for the demo, from npm, with content."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

from directus_realtime.testing import (
    DirectusAdmin,
    DirectusServer,
    DirectusUnavailable,
    install,
)
from directus_realtime.testing.demo import AUTHORS, INITIAL, article
from directus_realtime.testing.npm import is_installed
from example_project.demo.ports import directus_port
from example_project.demo.state import FOLDER
from example_project.demo.steps import StepFailed, Steps

WORKDIR = FOLDER / "directus"
#: Says that the content is complete.
MARKER = WORKDIR / "has-content"


@contextlib.contextmanager
def running(steps: Steps) -> Iterator[DirectusServer]:
    """Install it if need be, start it, fill it the first time, and stop it in the end."""
    if not MARKER.exists():
        # Perhaps half of it is there, from a start that was interrupted.
        shutil.rmtree(WORKDIR, ignore_errors=True)
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
    if not MARKER.exists():
        with server.admin() as admin:
            _fill(admin)
        MARKER.touch()


def _fill(admin: DirectusAdmin) -> None:
    admin.create_collection("authors", {"name": "string"})
    admin.create_collection(
        "articles",
        {
            "title": "string",
            "body": "text",
            "status": "string",
            "author": "integer",
            "date_updated": {"type": "timestamp", "meta": {"special": ["date-updated"]}},
        },
    )
    admin.create_relation("articles", "author", "authors")
    authors = admin.create_items("authors", [{"name": name} for name in AUTHORS])
    keys = [author["id"] for author in authors]
    admin.create_items("articles", [article(number, keys) for number in range(INITIAL)])
