"""The examples of client.md and fr/depuis-fcs-directus.md run, on a fake Directus."""

from __future__ import annotations

import ast
import asyncio
import inspect
import itertools
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from directus_realtime.client import ClientOptions, DirectusClient
from directus_realtime.client.feed import FeedState
from directus_realtime.testing import FakeCollection, FakeDirectus
from tests.docs.markdown import Block, python_blocks
from tests.helpers.waiting import await_for

TIMEOUT = 20.0  # seconds: a deadline, never a wait
ADDRESS, SECRET = "https://cms.example.com", '"…"'

BLOCKS = {page: python_blocks(page) for page in ("client.md", "fr/depuis-fcs-directus.md")}
COLLECTIONS = [
    FakeCollection("authors", fields={"name": "string"}),
    FakeCollection(
        "articles",
        fields={
            "title": "string",
            "status": "string",
            "author": ("m2o", "authors"),
            "date_updated": "date-updated",
        },
    ),
    FakeCollection("messages", fields={"content": "string"}),
    FakeCollection("orders", fields={"total": "integer"}),
    FakeCollection(
        "directus_notifications",
        fields={"recipient": "string", "status": "string", "subject": "string"},
    ),
]


def compiled(code: str) -> CodeType:
    return compile(code, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


async def run(code: CodeType, names: dict[str, Any]) -> None:
    result = eval(code, names)
    if inspect.isawaitable(result):
        await result


def imports(page: str) -> str:
    """The imports of all examples of a page: a reader has them all."""
    nodes = [node for block in BLOCKS[page] for node in ast.parse(block.code).body]
    return "\n".join(ast.unparse(n) for n in nodes if isinstance(n, ast.Import | ast.ImportFrom))


def subscribed(client: DirectusClient) -> bool:
    states = [subscription.state for subscription in client.subscriptions]
    return bool(states) and all(state is FeedState.SUBSCRIBED for state in states)


def for_fake(code: str, fake: FakeDirectus) -> str:
    return code.replace(ADDRESS, fake.url).replace(SECRET, repr(fake.token))


@pytest.mark.parametrize(
    ("page", "block"),
    [
        pytest.param(page, block, id=f"{page} line {block.line}")
        for page, blocks in BLOCKS.items()
        for block in blocks
    ],
)
async def test_example(
    page: str,
    block: Block,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ClientOptions(delays=lambda: itertools.repeat(0.05))
    async with (
        FakeDirectus(COLLECTIONS) as fake,
        DirectusClient(fake.url, token=fake.token, options=options) as client,
    ):
        settings.DIRECTUS_REALTIME = {"default": {"URL": fake.url, "TOKEN": fake.token}}
        names: dict[str, Any] = {"client": client, "fake": fake}
        await run(compiled(imports(page)), names)
        await run(compiled(block.directives.get("before", "")), names)
        await _run_example(block, fake, names, capsys)


async def _run_example(
    block: Block, fake: FakeDirectus, names: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    client = names["client"]
    expected = block.directives.get("prints", "")
    printed = ""

    def has_printed() -> bool:
        nonlocal printed
        printed += capsys.readouterr().out
        return expected in printed

    example = asyncio.create_task(run(compiled(for_fake(block.code, fake)), names))
    try:
        if meanwhile := block.directives.get("meanwhile"):
            # It is about a subscription that is confirmed, or about what was printed first.
            await await_for(lambda: subscribed(client) or has_printed() or printed, TIMEOUT)
            await run(compiled(meanwhile), names)
        if expected:
            await await_for(lambda: has_printed() or example.done(), TIMEOUT, expected)
            if not example.done():
                return  # it would go on for ever
        await asyncio.wait_for(example, TIMEOUT)
        assert has_printed(), printed
    finally:
        example.cancel()
        await asyncio.gather(example, return_exceptions=True)
