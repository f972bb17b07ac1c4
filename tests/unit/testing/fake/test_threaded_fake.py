"""The fake in a thread, as a process, as a fixture."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

from directus_realtime.testing import FakeDirectus, run_in_thread
from tests.helpers.waiting import wait_for

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


def test_the_end_of_its_thread_ends_what_still_runs_in_it() -> None:
    with run_in_thread() as fake:
        task = fake.call(lambda _: [asyncio.create_task(asyncio.Event().wait())])[0]
    assert task.cancelled()


def come_back_until(stop: threading.Event, url: str) -> None:
    """Open one WebSocket after the other, as clients do that were cut off."""
    lines = ["GET /websocket HTTP/1.1", "Host: fake", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", ""]
    address = urlsplit(url)
    while not stop.is_set():
        with (
            contextlib.suppress(OSError),
            socket.create_connection((address.hostname, address.port), timeout=1) as client,
        ):
            client.sendall("\r\n".join(lines).encode())
            while client.recv(100):
                pass


def test_its_end_leaves_no_connection_open_while_clients_come_back() -> None:
    for _ in range(5):
        stop = threading.Event()
        with ThreadPoolExecutor(max_workers=8) as pool, contextlib.ExitStack() as at_the_end:
            at_the_end.callback(stop.set)
            fake = at_the_end.enter_context(run_in_thread())
            for _ in range(8):
                pool.submit(come_back_until, stop, fake.url)
            wait_for(lambda fake=fake: fake.call(lambda fake: fake.connections) == 8)
            fake.call(lambda fake: fake.cut())
    gc.collect()  # what is left open warns, and a warning fails the test


def test_what_keeps_it_from_starting_is_raised_to_the_caller() -> None:
    with run_in_thread() as fake:
        port = urlsplit(fake.url).port
        with pytest.raises(OSError, match="in use"), run_in_thread(port=port):
            pass


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
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, output, errors) == (0, b"", b"")
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
