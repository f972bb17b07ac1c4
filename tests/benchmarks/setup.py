"""What the benchmarks share: a real Directus, and a site listening to it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
os.environ.setdefault("PYTHONDEVMODE", "")  # the tests' processes run in it, and slower

import django

django.setup()

from example_project.real_directus import DirectusServer  # noqa: E402
from tests.helpers.site import Site  # noqa: E402


@contextlib.contextmanager
def directus_and_site(
    directus_env: Mapping[str, str] = MappingProxyType({}), **env: str
) -> Iterator[tuple[DirectusServer, Site]]:
    """A real Directus 11.17.4 with ``articles``, and a site subscribed to it.

    Args:
        directus_env: More settings of Directus.
        env: More environment of the site.
    """
    with tempfile.TemporaryDirectory() as name, DirectusServer(env=directus_env) as server:
        with server.admin() as admin:
            admin.create_collection("articles", {"title": "string", "body": "text"})
        folder = Path(name)
        access = {"DIRECTUS_URL": server.url, "DIRECTUS_TOKEN": server.admin_token}
        site = Site(folder, f"sqlite:///{folder}/site.sqlite3", {**access, **env})
        site.subscribe()
        try:
            yield server, site
        finally:
            site.close()


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which a share of the values lie."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
