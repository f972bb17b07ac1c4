"""The ways from Directus to browsers that ``tests.benchmarks.fanout`` compares."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from example_project.real_directus import DirectusServer
from tests.benchmarks import fanout_bare
from tests.benchmarks.crowd import SUBSCRIBE, SUBSCRIBED, Talk
from tests.conftest import RedisServer, free_port
from tests.helpers.site import Site
from tests.helpers.web import start_web

APPLICATION = "tests.benchmarks.fanout_asgi:application"


@dataclass(frozen=True)
class Way:
    """Where browsers connect, and who works for them.

    Attributes:
        name: What it is called in the table.
        port: On 127.0.0.1.
        path: Of the WebSocket.
        talk: What a browser says first.
        front: The process that the browsers are connected to.
        behind: The pids of the others that take part, with Directus.
    """

    name: str
    port: int
    path: str
    talk: Talk
    front: int
    behind: tuple[int, ...] = ()


@dataclass(frozen=True)
class Machine:
    """What the ways share.

    Attributes:
        server: Directus.
        site: A Django site with an offer of its articles.
        redis: A Redis of its own.
    """

    server: DirectusServer
    site: Site
    redis: RedisServer

    @property
    def directus(self) -> int:
        """The pid of Directus."""
        assert self.server.pid is not None
        return self.server.pid


#: Starts a way, until the end of the block.
Start = Callable[[Machine], AbstractContextManager[Way]]


@contextmanager
def directus(machine: Machine) -> Iterator[Way]:
    """Each browser is a subscriber of Directus."""
    token = json.dumps({"type": "auth", "access_token": machine.server.admin_token})
    talk = [(token, '"status":"ok"'), (SUBSCRIBE, '"init"')]
    yield Way("Directus itself", machine.server.port, "/websocket", talk, machine.directus)


@contextmanager
def bare(machine: Machine) -> Iterator[Way]:
    """One subscriber relays with ``websockets.broadcast``."""
    port = free_port()
    command = [
        sys.executable,
        fanout_bare.__file__,
        str(port),
        f"ws://127.0.0.1:{machine.server.port}",
    ]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(machine.server.admin_token + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        yield Way(
            "bare websockets.broadcast", port, "/", SUBSCRIBED, process.pid, (machine.directus,)
        )
    finally:
        process.kill()
        process.communicate()


@contextmanager
def django(
    machine: Machine, name: str, server: str, path: str, talk: Talk, redis: bool
) -> Iterator[Way]:
    """The listener, a channel layer and an ASGI server."""
    url = machine.redis.url if redis else ""
    port = free_port()
    web = start_web(machine.site, APPLICATION, server, port, REDIS_URL=url)
    listener = machine.site.listen(REDIS_URL=url)
    behind = (machine.directus, listener.pid, *([machine.redis.pid] if redis else []))
    try:
        yield Way(name, port, path, talk, web.pid, behind)
    finally:
        listener.kill()
        web.kill()


#: A plain consumer says how the connection stands when it has joined its groups.
_JOINED: Talk = [("", '"directus.connection"')]

WAYS: dict[str, Start] = {
    "bare": bare,
    "gateway-uvicorn": partial(
        django,
        name="gateway, uvicorn, Redis",
        server="uvicorn",
        path="/directus/",
        talk=SUBSCRIBED,
        redis=True,
    ),
    "gateway-inbox": partial(
        django,
        name="gateway, uvicorn, inbox",
        server="uvicorn",
        path="/directus/",
        talk=SUBSCRIBED,
        redis=False,
    ),
    "gateway-daphne": partial(
        django,
        name="gateway, daphne, Redis",
        server="daphne",
        path="/directus/",
        talk=SUBSCRIBED,
        redis=True,
    ),
    "plain": partial(
        django,
        name="plain consumers, uvicorn, Redis",
        server="uvicorn",
        path="/plain/",
        talk=_JOINED,
        redis=True,
    ),
    "directus": directus,
}


@contextmanager
def machine() -> Iterator[Machine]:
    """Directus with articles, a site, and Redis."""
    from tests.benchmarks.setup import directus_and_site

    with directus_and_site() as (server, site), tempfile.TemporaryDirectory() as folder:
        site.subscriptions.update(name="articles", browser_access="public", fields=["id", "title"])
        redis = RedisServer(Path(folder))
        redis.start()
        try:
            yield Machine(server, site, redis)
        finally:
            redis.stop()
