"""The Directus that the demo listens to: the fake one, a real one, or yours."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from example_project.demo.ports import HOST, directus_port
from example_project.demo.state import FOLDER
from example_project.demo.steps import StepFailed, Steps, say
from example_project.demo.supervisor import Supervisor
from example_project.real_directus import DirectusServer, DirectusUnavailable, install
from example_project.real_directus.npm import is_installed

# Only where it is in the environment: the demo's events do not belong into the database
# that .env names for your site.
_HAS_DATABASE = "DATABASE_URL" in os.environ
#: Seconds until the fake must answer.
FAKE_TIMEOUT = 20.0
DIRECTUS_FOLDER = FOLDER / "directus"


@dataclass(frozen=True)
class Source:
    """A Directus, and the preparation that it needs.

    Attributes:
        env: Variables for the site and the listener. Secret.
        summary: Lines for the person at the terminal: a label and a text.
        seed: Arguments of ``seed_demo``.
        directus_seed: Arguments of ``seed_directus``, which is to be run where there are some.
        env_file: Where that writes the tokens that site and listener use.
        editor: Whether a process shall change something.
    """

    env: dict[str, str] = field(repr=False)
    summary: list[tuple[str, str]] = field(repr=False)
    seed: tuple[str, ...] = ()
    directus_seed: tuple[str, ...] = ()
    env_file: Path | None = None
    editor: bool = False


@contextlib.contextmanager
def fake(steps: Steps, supervisor: Supervisor) -> Iterator[Source]:
    """The fake Directus, as a process of the demo."""
    port = directus_port()
    url = f"http://{HOST}:{port}"
    token = secrets.token_urlsafe(24)
    own = _credentials(url, token, "fake")
    command = [sys.executable, "-m", "example_project.demo.fake_directus", str(port)]
    with steps.step("Starting the fake Directus"):
        supervisor.start("directus", command, {**os.environ, **own})
        if not supervisor.wait(lambda: answers(url), FAKE_TIMEOUT):
            raise StepFailed("The fake Directus did not start.")
    rights = {"DIRECTUS_WRITE_TOKEN": token, "DIRECTUS_DEMO_TOKEN": token}
    env = {**own, **rights, **_database("fake")}
    # A database that was given is not ours to empty.
    seed = ("--people",) if _HAS_DATABASE else ("--people", "--forget-events")
    yield Source(env, [("Directus", f"{url} (fake; its content changes by itself)")], seed)


@contextlib.contextmanager
def yours(steps: Steps, supervisor: Supervisor) -> Iterator[Source]:
    """The Directus of ``DIRECTUS_URL``; nothing is written to it."""
    url = os.environ["DIRECTUS_URL"].rstrip("/")
    has_login = os.environ.get("DIRECTUS_EMAIL") and os.environ.get("DIRECTUS_PASSWORD")
    if not os.environ.get("DIRECTUS_TOKEN") and not has_login:
        raise StepFailed(
            "DIRECTUS_URL is set, but there is no DIRECTUS_TOKEN, and no DIRECTUS_EMAIL with "
            "DIRECTUS_PASSWORD. Set them in .env, or remove DIRECTUS_URL to see the fake Directus."
        )
    shown = urlsplit(url)._replace(query="", fragment="")
    shown = shown._replace(netloc=shown.netloc.rpartition("@")[2])
    with steps.step(f"Looking for {shown.geturl()}"):
        found = answers(url)
    if not found:
        say("    It does not answer. The listener keeps trying.")
    summary = [
        ("Directus", f"{shown.geturl()} (yours; the demo only reads)"),
        ("", "The first page lists the collection “articles”; the others need what"),
        ("", "“manage.py seed_directus” creates."),
    ]
    yield Source({"DEMO": "", "DIRECTUS_DEMO_TOKEN": ""}, summary, ("--plain",))


@contextlib.contextmanager
def real(steps: Steps, supervisor: Supervisor) -> Iterator[Source]:
    """A Directus from npm, with the same content as the fake one."""
    with _real_directus(steps) as server:
        supervisor.watch("Directus", lambda: server.pid is not None)
        summary = [
            ("Directus", f"{server.url}/admin (version {server.version})"),
            ("", f"user {server.admin_email}, password {server.admin_password}"),
        ]
        env_file = DIRECTUS_FOLDER / "tokens.env"
        env = {
            # The address comes with the tokens: one without the other is a mistake.
            **_credentials("", "", "directus"),
            "DIRECTUS_DEMO_TOKEN": server.admin_token,
            **_database("directus"),
        }
        seed = (
            *("--url", server.url, "--token-env", "DIRECTUS_DEMO_TOKEN"),
            *("--env-file", str(env_file), "--new-tokens"),
        )
        yield Source(env, summary, directus_seed=seed, env_file=env_file, editor=True)


@contextlib.contextmanager
def _real_directus(steps: Steps) -> Iterator[DirectusServer]:
    """Install and start it, and stop it in the end."""
    server = DirectusServer(port=directus_port(), workdir=DIRECTUS_FOLDER)
    sentence = f"Starting Directus {server.version}"
    if not is_installed(server.version):
        sentence = f"Installing Directus {server.version} with npm (once, 3 to 4 minutes)"
    try:
        with steps.step(sentence):
            try:
                install(server.version, log=lambda sentence: None)
                server.start()
            except (DirectusUnavailable, RuntimeError) as error:
                raise StepFailed(f"{error}\nThe demo without it: make demo") from None
        yield server
    finally:
        server.close()


def answers(url: str) -> bool:
    """Whether there is a Directus."""
    try:
        response = httpx.get(f"{url}/server/ping", timeout=3, follow_redirects=True)
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
    return response.text == "pong"


def _credentials(url: str, token: str, demo: str) -> dict[str, str]:
    # Empty ones, so that those of .env do not come into play.
    return {
        "DIRECTUS_URL": url,
        "DIRECTUS_TOKEN": token,
        "DIRECTUS_EMAIL": "",
        "DIRECTUS_PASSWORD": "",
        "DIRECTUS_WRITE_TOKEN": "",
        "DEMO": demo,
    }


def _database(name: str) -> dict[str, str]:
    """A database for each Directus, so that their events do not mix."""
    if _HAS_DATABASE:
        return {}
    return {"DATABASE_URL": f"sqlite:///{FOLDER / name}.sqlite3"}
