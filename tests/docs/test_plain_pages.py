"""Pages whose Python needs nothing around it: each block runs, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from directus_realtime import subscriptions
from tests.docs.markdown import python_blocks
from tests.docs.test_how_to_pages import SIGNALS

PLAIN = (
    "checks.md",
    "delivery.md",
    "reference/settings.md",
    "reference/signals.md",
)


@pytest.fixture(autouse=True)
def _nothing_remains(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(subscriptions, "_declared", {})
    monkeypatch.setenv("DIRECTUS_TOKEN", "a-token")
    before = [list(signal.receivers) for signal in SIGNALS]
    yield
    for signal, receivers in zip(SIGNALS, before, strict=True):
        signal.receivers = receivers
        signal.sender_receivers_cache.clear()


@pytest.mark.parametrize("page", PLAIN)
def test_every_block_runs(page: str) -> None:
    # Settings of a project have it.
    names: dict[str, object] = {"__name__": "a_page", "BASE_DIR": Path()}
    for block in python_blocks(page):
        exec(compile(block.code, f"{page}:{block.line}", "exec"), names)
