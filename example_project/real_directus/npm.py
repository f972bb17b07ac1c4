"""Install a real Directus from npm, once, into a cache folder outside the checkout."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

DEFAULT_VERSION = "11.17.4"
CACHE_VARIABLE = "DIRECTUS_REALTIME_CACHE"
MINIMUM_NODE = 20  # major version; every supported Directus was seen to run on it
INSTALL_TIMEOUT = 1800.0  # seconds; a cold npm cache on a slow line takes minutes
MARKER = "installed.json"

# 12.4.1 names an admin app that npm does not have; one patch older serves (API unchanged).
OVERRIDES: dict[str, dict[str, str]] = {"12.4.1": {"@directus/app": "18.0.0"}}

Log = Callable[[str], object]


class DirectusUnavailable(Exception):
    """A real Directus cannot be had on this machine; the message says why."""


def cache_folder(cache: Path | str | None = None) -> Path:
    """Return the folder that holds installed servers and database templates.

    Args:
        cache: The folder to use; else the environment variable ``DIRECTUS_REALTIME_CACHE``,
            else ``~/.cache/django-directus-realtime``.
    """
    chosen = cache or os.environ.get(CACHE_VARIABLE) or "~/.cache/django-directus-realtime"
    return Path(chosen).expanduser()


def node() -> str:
    """Return the path of Node.

    Raises:
        DirectusUnavailable: Node is missing or too old.
    """
    path = shutil.which("node")
    if path is None:
        raise DirectusUnavailable("Node.js is not installed (no 'node' on the PATH).")
    version = _output([path, "--version"])
    match = re.match(r"v(\d+)\.", version)
    if match is None or int(match[1]) < MINIMUM_NODE:
        raise DirectusUnavailable(f"Node.js {version} is too old; Directus needs {MINIMUM_NODE}.")
    return path


def is_installed(version: str = DEFAULT_VERSION, cache: Path | str | None = None) -> bool:
    """Say whether this version of Directus is complete in the cache."""
    return _is_complete(_folder(version, cache), version)


def install(
    version: str = DEFAULT_VERSION, cache: Path | str | None = None, log: Log = print
) -> Path:
    """Install Directus from npm unless it is there already.

    Safe against a second process doing the same, and against being killed half-way.

    Args:
        version: The exact npm version.
        cache: See :func:`cache_folder`.
        log: Called with a sentence when something slow begins.

    Returns:
        The folder that contains ``node_modules/directus``.

    Raises:
        DirectusUnavailable: Node or npm is missing, too old, or the installation failed.
    """
    node()
    folder = _folder(version, cache)
    if _is_complete(folder, version):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent / f".directus-{version}.lock"):
        # Another process may have finished the work while this one waited for the lock.
        if not _is_complete(folder, version):
            _install_into(folder, version, log)
    return folder


def _folder(version: str, cache: Path | str | None) -> Path:
    return cache_folder(cache) / f"directus-{version}"


def _is_complete(folder: Path, version: str) -> bool:
    if (folder / MARKER).is_file():
        return True
    package = folder / "node_modules" / "directus"
    if not (package / "cli.js").is_file():
        return False
    try:
        found = json.loads((package / "package.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(found.get("version") == version)


def _install_into(folder: Path, version: str, log: Log) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise DirectusUnavailable("npm is not installed (no 'npm' on the PATH).")
    log(f"Installing directus@{version} into {folder}; this takes some minutes, once.")
    building = Path(tempfile.mkdtemp(prefix=f".directus-{version}-", dir=folder.parent))
    try:
        _write_manifest(building, version)
        _run_npm(npm, building)
        if not _is_complete(building, version):
            raise DirectusUnavailable(f"npm finished, but directus@{version} is not complete.")
        (building / MARKER).write_text(json.dumps({"version": version}), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _write_manifest(folder: Path, version: str) -> None:
    manifest: dict[str, Any] = {
        "name": "directus-server",
        "private": True,
        "dependencies": {"directus": version},
    }
    if version in OVERRIDES:
        manifest["overrides"] = OVERRIDES[version]
    (folder / "package.json").write_text(json.dumps(manifest), encoding="utf-8")


def _run_npm(npm: str, folder: Path) -> None:
    command = [npm, "install", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(  # noqa: S603 - npm found on the PATH, fixed arguments
            command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DirectusUnavailable(f"npm install did not finish: {error}") from error
    if done.returncode != 0:
        raise DirectusUnavailable(f"npm install failed:\n{done.stderr[-2000:]}")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock that the system releases even if the process is killed."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - a program found on the PATH, fixed arguments
            command, capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise DirectusUnavailable(f"{command[0]} does not run: {error}") from error
    return done.stdout.strip()
