"""Real servers for the tests; each is skipped with a reason where it is missing, except in CI."""

from __future__ import annotations

import os
import socket
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from asgiref.sync import SyncToAsync
from django.db import connections
from django.utils import translation

from example_project.real_directus import DirectusAdmin, DirectusServer, DirectusUnavailable
from example_project.real_directus.npm import DEFAULT_VERSION
from example_project.real_directus.server_database import MariaDatabase
from tests.helpers.parallel import (  # noqa: F401 - pytest finds its hooks here
    pytest_collection_modifyitems,
    pytest_runtest_protocol,
    pytest_xdist_make_scheduler,
)
from tests.helpers.site import Site
from tests.helpers.waiting import wait_for
from tests.helpers.writes import WRITES

ARTICLE_FIELDS = {"title": "string", "body": "text", "status": "string"}
POSTGRES_URL = os.environ.get("TEST_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/postgres")
MARIADB_URL = os.environ.get("TEST_MARIADB_URL", "mysql://root@127.0.0.1:3306/test")


@pytest.fixture(autouse=True)
def _same_language() -> Iterator[None]:
    """A request in French leaves its language behind for the tests after it."""
    yield
    translation.deactivate()


def missing(what: str) -> None:
    """Skip for want of a server; in CI that is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"CI needs {what}", pytrace=False)
    pytest.skip(what)


@contextmanager
def running_directus(
    database: str = "sqlite", version: str = DEFAULT_VERSION, **env: str
) -> Iterator[DirectusServer]:
    """Run a real Directus with ``articles``, ``notes`` and the extension of the tests."""
    try:
        server = DirectusServer(version, database=database, env=env, extensions=[WRITES])
        server.start()
    except DirectusUnavailable as error:
        missing(str(error))
    try:
        with server.admin() as admin:
            admin.create_collection("articles", ARTICLE_FIELDS)
            admin.create_collection("notes", {"title": "string"}, "uuid")
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def directus_server() -> Iterator[DirectusServer]:
    """A real Directus on SQLite."""
    with running_directus() as server:
        yield server


@pytest.fixture(scope="session")
def directus_pg() -> Iterator[DirectusServer]:
    """A real Directus on PostgreSQL, where transactions overlap and commit late."""
    with own_postgres() as url, running_directus(url) as server:
        yield server


@pytest.fixture(scope="session")
def directus_mariadb() -> Iterator[DirectusServer]:
    """A real Directus on MariaDB."""
    with own_mariadb() as url, running_directus(url) as server:
        yield server


@pytest.fixture
def directus(directus_server: DirectusServer) -> Iterator[DirectusAdmin]:
    """REST access to the real Directus."""
    with directus_server.admin() as admin:
        yield admin


@pytest.fixture
def directus_env(directus_server: DirectusServer) -> dict[str, str]:
    """The environment of a site on the real Directus."""
    return {"DIRECTUS_URL": directus_server.url, "DIRECTUS_TOKEN": directus_server.admin_token}


@pytest.fixture
def make_site(tmp_path: Path, django_db_blocker: Any) -> Iterator[Callable[..., Site]]:
    """Makes a site from an environment; SQLite where no database is given."""
    sites: list[Site] = []

    def make(env: dict[str, str], database_url: str = "") -> Site:
        site = Site(tmp_path, database_url or f"sqlite:///{tmp_path}/site.sqlite3", env)
        sites.append(site)
        return site

    with django_db_blocker.unblock():
        try:
            yield make
        finally:
            for site in sites:
                site.close()


@pytest.fixture
def site(make_site: Callable[..., Site], directus_env: dict[str, str]) -> Site:
    """A site on the real Directus, with SQLite and no Redis."""
    return make_site(directus_env)


@contextmanager
def own_postgres() -> Iterator[str]:
    """A PostgreSQL database of its own; gives its URL."""
    name = f"directus_realtime_{uuid.uuid4().hex[:12]}"
    try:
        server = psycopg.connect(POSTGRES_URL, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as error:
        missing(f"PostgreSQL at {POSTGRES_URL} ({error})")
    with server:
        server.execute(f'CREATE DATABASE "{name}"')
        try:
            yield f"{POSTGRES_URL.rpartition('/')[0]}/{name}"
        finally:
            server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextmanager
def own_mariadb() -> Iterator[str]:
    """A MariaDB database of its own; gives its URL."""
    name = f"directus_realtime_{uuid.uuid4().hex[:12]}"
    server = MariaDatabase(f"{MARIADB_URL.rpartition('/')[0]}/mysql")
    try:
        server.run(f"CREATE DATABASE {name}")
    except (DirectusUnavailable, RuntimeError) as error:
        missing(f"MariaDB at TEST_MARIADB_URL ({error})")
    try:
        yield f"{MARIADB_URL.rpartition('/')[0]}/{name}"
    finally:
        server.run(f"DROP DATABASE {name}")


@contextmanager
def own_database(kind: str) -> Iterator[str]:
    """A database for a Directus server: ``sqlite``, or the URL of one of the kind's server."""
    if kind == "sqlite":
        yield kind
        return
    with {"postgres": own_postgres, "mariadb": own_mariadb}[kind]() as url:
        yield url


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """The URL of a PostgreSQL database of its own."""
    with own_postgres() as url:
        yield url


class RedisServer:
    """A Redis of its own on a free port, which a test may stop and start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        arguments = ["--port", str(self._port), "--bind", "127.0.0.1", "--save", ""]
        try:
            self._process = subprocess.Popen(
                ["redis-server", *arguments, "--appendonly", "no", "--dir", str(self._folder)],
                stdout=subprocess.DEVNULL,
            )
        except FileNotFoundError:
            missing("redis-server (Debian's package redis-server)")
        wait_for(self._answers, what="Redis to answer")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of its own."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """The databases of the tests; at the end, nobody is connected any more.

    ``sync_to_async`` has a thread of its own for as long as the process lives, with a
    connection of its own, and PostgreSQL deletes no database in which somebody is.
    """
    yield
    thread = SyncToAsync.single_thread_executor
    thread.submit(connections.close_all).result(10)
