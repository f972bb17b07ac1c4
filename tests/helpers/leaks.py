"""What a test leaves open is warned of in that test, not in the one that comes next by chance."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _imported_once() -> None:
    """Modules are garbage of no test; without them a collection is much faster."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def own_leaks(_imported_once: None) -> Iterator[None]:
    """Collect what this test leaves; pytest makes a failure of an open socket."""
    yield
    gc.collect()
