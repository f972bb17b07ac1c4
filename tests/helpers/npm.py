"""Packages of npm that tests and benchmarks use, installed once into the cache."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from example_project.real_directus.npm import DirectusUnavailable, cache_folder

INSTALL_TIMEOUT = 300  # seconds


def installed(name: str, *packages: str) -> Path:
    """The ``node_modules`` with packages, installed where it is missing.

    Args:
        name: Of the folder in the cache; it must change with the versions.
        packages: As npm wants them, such as ``ws@8``.

    Raises:
        DirectusUnavailable: npm is missing, or could not install them.
    """
    folder = cache_folder() / name
    modules = folder / "node_modules"
    if all((modules / package.rpartition("@")[0]).is_dir() for package in packages):
        return modules
    npm = shutil.which("npm")
    if npm is None:
        raise DirectusUnavailable("npm is not installed (no 'npm' on the PATH).")
    folder.mkdir(parents=True, exist_ok=True)
    manifest = json.dumps({"name": name, "private": True})
    (folder / "package.json").write_text(manifest, encoding="utf-8")
    command = [npm, "install", "--no-audit", "--no-fund", *packages]
    try:
        subprocess.run(
            command, cwd=folder, check=True, capture_output=True, timeout=INSTALL_TIMEOUT
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise DirectusUnavailable(f"npm could not install {' '.join(packages)}: {error}") from None
    return modules
