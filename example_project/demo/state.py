"""The state that the demo keeps between starts, in ``.demo/``."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from example_project.demo import ROOT
from example_project.demo.steps import StepFailed

FOLDER = ROOT / ".demo"


def make_folder() -> None:
    """Make the folder, for the owner only."""
    FOLDER.mkdir(mode=0o700, exist_ok=True)


def kept_secret(name: str) -> str:
    """A random secret that stays the same; in a file that only the owner may read."""
    path = FOLDER / name
    if not path.exists():
        _write_private(path, secrets.token_urlsafe(12))
    return path.read_text(encoding="utf-8").strip()


def _write_private(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text + "\n")


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Let one demo run at a time: two would write into the same database.

    Raises:
        StepFailed: Another one runs.
    """
    with (FOLDER / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StepFailed("The demo is running already. Stop it first with Ctrl-C.") from None
        yield
