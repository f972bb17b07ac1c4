"""The example site and the listener, as processes of the demo."""

from __future__ import annotations

import os
import subprocess
import sys

import httpx

from example_project.demo import ROOT
from example_project.demo.ports import HOST, site_port
from example_project.demo.sources import Source
from example_project.demo.state import kept_secret
from example_project.demo.steps import StepFailed, Steps, say
from example_project.demo.supervisor import Supervisor
from example_project.site.env_files import read_env_file

#: Seconds until the page must answer, and until the listener is usually connected.
PAGE_TIMEOUT = 30.0
CONNECT_TIMEOUT = 10.0

Environment = dict[str, str]


class Site:
    """Prepares the database, starts site and listener, and prints the addresses.

    Args:
        steps: Prints the progress.
        supervisor: Runs the processes.

    Raises:
        StepFailed: The port is in use.
    """

    def __init__(self, steps: Steps, supervisor: Supervisor) -> None:
        self._steps = steps
        self._supervisor = supervisor
        self._port = site_port()
        self._url = f"http://{HOST}:{self._port}"

    def run(self, source: Source) -> None:
        """Run until something ends it.

        Raises:
            StepFailed: The database or the site cannot be used.
            ChildDied: A process is gone.
        """
        password = kept_secret("admin-password")
        env = self._environment(source, password)
        more = " and filling Directus" if source.directus_seed else ""
        with self._steps.step(f"Preparing the database{more}"):
            self._manage(env, "migrate", "--verbosity=0")
            self._manage(env, "seed_demo", *source.seed)
            if source.directus_seed:
                self._manage(env, "seed_directus", *source.directus_seed)
        env |= read_env_file(source.env_file)
        with self._steps.step("Starting the site and the listener"):
            self._start(env, source)
        self._tell(source, password)
        self._supervisor.show()
        self._supervisor.wait()

    def _environment(self, source: Source, password: str) -> Environment:
        local = f"{HOST},localhost"
        return {
            **os.environ,
            "DEBUG": "true",  # runserver hands out the static files only then
            "ALLOWED_HOSTS": local,
            "SECRET_KEY": kept_secret("secret-key"),
            "DEMO_ADMIN_PASSWORD": password,
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "PYTHONUNBUFFERED": "1",
            **source.env,
        }

    def _manage(self, env: Environment, *command: str) -> None:
        done = subprocess.run(  # noqa: S603 - our own manage.py
            [sys.executable, "manage.py", *command],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        if done.returncode != 0:
            raise StepFailed(f"{done.stdout}\nmanage.py {command[0]} failed; see above.")

    def _start(self, env: Environment, source: Source) -> None:
        demo = "example_project.demo"
        start = self._supervisor.start
        start("listener", [sys.executable, "manage.py", "directus_listen"], env)
        address = f"{HOST}:{self._port}"
        start("web", [sys.executable, "-m", f"{demo}.serving", address], env)
        if source.editor:
            start("editor", [sys.executable, "-m", f"{demo}.changes"], env)
        if not self._supervisor.wait(lambda: self._state() != "", PAGE_TIMEOUT):
            raise StepFailed(f"The site does not answer on {self._url}.")
        # Without Directus the page says so, and the listener retries.
        self._supervisor.wait(lambda: self._state() == "connected", CONNECT_TIMEOUT)

    def _state(self) -> str:
        """The state of the connection on the page; empty without a page."""
        try:
            answer = httpx.get(f"{self._url}/status/", timeout=3, trust_env=False)
            return str(answer.raise_for_status().json()["connection"]["state"])
        except (httpx.HTTPError, ValueError, KeyError):
            return ""

    def _tell(self, source: Source, password: str) -> None:
        lines = [
            ("Page", f"{self._url}/"),
            ("Admin", f"{self._url}/admin/"),
            ("", f"user admin, password {password} (unless you changed it)"),
            *source.summary,
        ]
        say("")
        for label, text in lines:
            say(f"  {label:<9} {text}")
        say("\nCtrl-C stops everything.\n")
