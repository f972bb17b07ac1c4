"""The fake in a thread, as a process, as a fixture."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time

import httpx
import pytest

from directus_realtime.testing import FakeDirectus, run_in_thread

pytest_plugins = ["directus_realtime.testing.pytest_plugin"]

MODULE = "directus_realtime.testing"


async def test_fixture(fake_directus: FakeDirectus) -> None:
    assert fake_directus.items("articles") == []


def test_in_a_thread() -> None:
    with run_in_thread(token="t") as fake:
        made = fake.create("articles", {"title": "x"})
        fake.create("articles", [{"title": "y"}, {"title": "z"}])
        fake.update("articles", made["id"], {"title": "X"})
        fake.delete("articles", [2])
        assert [item["title"] for item in fake.items("articles")] == ["X", "z"]
        headers = {"Authorization": "Bearer t"}
        assert httpx.get(f"{fake.url}/items/articles/1", headers=headers).status_code == 200
        fake.call(lambda fake: fake.stop_listening())
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{fake.url}/server/ping")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_as_a_process(number: signal.Signals) -> None:
    command = [sys.executable, "-m", MODULE, "--port", "0", "--token-env", "T", "--demo"]
    process = subprocess.Popen(
        command, env={**os.environ, "T": "secret"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        url = line.split()[-1]
        headers = {"Authorization": "Bearer secret"}
        rows = httpx.get(f"{url}/items/articles?fields=author.name", headers=headers)
        assert rows.json()["data"][0] == {"author": {"name": "Ada Okafor"}}
        started = time.monotonic()
        process.send_signal(number)
        output, errors = process.communicate(timeout=5)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, output, errors) == (0, b"", b"")
    assert time.monotonic() - started < 2
    assert "secret" not in line


def test_process_wants_a_token() -> None:
    env = {key: value for key, value in os.environ.items() if key != "DIRECTUS_TOKEN"}
    done = subprocess.run([sys.executable, "-m", MODULE], env=env, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"DIRECTUS_TOKEN" in done.stderr


async def test_two_fakes_at_once() -> None:
    async with FakeDirectus() as one, FakeDirectus() as two:
        assert one.url != two.url
        await asyncio.gather(one.create("articles", {}), two.create("articles", {}))
