"""Start, stop and disturb a real Directus for end-to-end tests."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

import httpx

from example_project.real_directus.directus_admin import DirectusAdmin
from example_project.real_directus.npm import (
    DEFAULT_VERSION,
    cache_folder,
    install,
    locked,
    node,
)
from example_project.real_directus.server_database import (
    CREDENTIALS_FILE,
    Credentials,
    server_database,
)

START_TIMEOUT = 90.0  # seconds; 3 to 4 on an idle machine
BOOTSTRAP_TIMEOUT = 180.0  # seconds; 4 to 6 on an idle machine
STOP_TIMEOUT = 10.0  # seconds between SIGTERM and SIGKILL
POLL_INTERVAL = 0.1  # seconds
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")


class DirectusServer:
    """A real Directus as a child process on 127.0.0.1.

    Use it as a context manager, or call :meth:`start` and :meth:`close`. The database is a copy
    of a template that is bootstrapped once for each version and kind of database.

    Attributes:
        version: The version.
        port: The port.
        database: ``"sqlite"``, or the URL of the database.
        workdir: The folder for database, log and uploads.

    Args:
        version: The exact npm version; installed into the cache if it is missing.
        database: ``"sqlite"``, or the URL of an *empty* PostgreSQL or MariaDB database. Its role
            must be allowed to create databases.
        port: The port; a free one if not given. It stays the same over restarts.
        env: More Directus settings. Those for the administrator, the database and the address
            are set by this class and win.
        extensions: Folders of Directus extensions that the server loads.
        workdir: The folder for database, log and uploads; else a temporary one, which
            :meth:`close` removes. A folder used before is used again with its data.
        cache: See :func:`example_project.real_directus.npm.cache_folder`.
    """

    def __init__(
        self,
        version: str = DEFAULT_VERSION,
        *,
        database: str = "sqlite",
        port: int | None = None,
        env: Mapping[str, str] | None = None,
        extensions: Iterable[Path] = (),
        workdir: Path | str | None = None,
        cache: Path | str | None = None,
    ) -> None:
        self.version = version
        self.port = port or _free_port()
        self._env = dict(env or {})
        self._extensions = tuple(extensions)
        self._cache = cache
        self._temporary = workdir is None
        self.workdir = Path(workdir or tempfile.mkdtemp(prefix="directus-")).resolve()
        self.database = database
        self._database = server_database(database, self.workdir)
        self._credentials: Credentials | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<DirectusServer {self.version} {self.url} pid={self.pid}>"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def credentials(self) -> Credentials:
        """The administrator; known once the server was started."""
        if self._credentials is None:
            raise RuntimeError("The server was never started.")
        return self._credentials

    @property
    def admin_token(self) -> str:
        """The static token of the administrator."""
        return self.credentials.token

    @property
    def admin_email(self) -> str:
        """The e-mail address of the administrator."""
        return self.credentials.email

    @property
    def admin_password(self) -> str:
        """The password of the administrator."""
        return self.credentials.password

    @property
    def pid(self) -> int | None:
        """The process id, or None if the server does not run."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def log_path(self) -> Path:
        """Where the server's output goes."""
        return self.workdir / "directus.log"

    def admin(self) -> DirectusAdmin:
        """Return a REST client with the rights of the administrator; close it after use."""
        return DirectusAdmin(self.url, self.admin_token)

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            DirectusUnavailable: Directus cannot be installed here.
            RuntimeError: It ended or did not answer in time; the message has its last output.
        """
        if self.pid is not None:
            return
        installed = install(self.version, self._cache)
        self.workdir.mkdir(parents=True, exist_ok=True)
        self._prepare(installed)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - Node with a fixed script
                [node(), str(_cli(installed)), "start"],
                cwd=self.workdir,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl+C for the tests must not reach the server
            )
        atexit.register(self.kill)
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """End the server with SIGTERM, and with SIGKILL after ``timeout`` seconds."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)  # a paused process cannot act on SIGTERM
            process.terminate()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._forget()

    def kill(self) -> None:
        """End the server with SIGKILL: nothing is cleaned up, as in a crash."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._forget()

    def restart(self) -> None:
        """Stop and start again with the same address and data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): connections stay open and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop, and remove the folder if it is a temporary one."""
        self.stop()
        if self._temporary:
            shutil.rmtree(self.workdir, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is None:
            raise RuntimeError("The server does not run.")
        os.kill(self.pid, number)

    def _forget(self) -> None:
        self._process = None
        atexit.unregister(self.kill)

    def _prepare(self, installed: Path) -> None:
        """Make sure of a bootstrapped database and learn its credentials."""
        (self.workdir / "empty.env").touch()
        (self.workdir / "package.json").write_text("{}", encoding="utf-8")
        for name in ("uploads", "extensions"):
            (self.workdir / name).mkdir(exist_ok=True)
        for folder in self._extensions:
            copy = self.workdir / "extensions" / folder.name
            shutil.copytree(folder, copy, dirs_exist_ok=True)
        if not (self.workdir / CREDENTIALS_FILE).exists():
            self._fill_database(installed)
        self._credentials = Credentials.load(self.workdir)

    def _fill_database(self, installed: Path) -> None:
        name = f"directus-{self.version}{self._database.label}"
        template = cache_folder(self._cache) / "templates" / name
        template.parent.mkdir(parents=True, exist_ok=True)
        with locked(template.parent / f".{name}.lock"):
            if not self._database.has_template(template):
                self._bootstrap(installed)
                self._database.save(template, self.workdir)
                return
        self._database.fill(template)
        shutil.copy2(template / CREDENTIALS_FILE, self.workdir / CREDENTIALS_FILE)

    def _bootstrap(self, installed: Path) -> None:
        self._credentials = Credentials.generate()
        done = subprocess.run(  # noqa: S603 - Node with a fixed script
            [node(), str(_cli(installed)), "bootstrap"],
            cwd=self.workdir,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BOOTSTRAP_TIMEOUT,
        )
        if done.returncode != 0:
            output = self.credentials.mask((done.stdout + done.stderr)[-2000:])
            raise RuntimeError(f"Directus could not be bootstrapped:\n{output}")
        self._credentials.save(self.workdir)

    def _environment(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        defaults = {
            "WEBSOCKETS_ENABLED": "true",
            "TELEMETRY": "false",
            "TELEMETRY_URL": "http://127.0.0.1:9/",  # a closed port: nothing leaves the machine
            # It refuses requests with 503 where the machine is busy, as it is under tests.
            "PRESSURE_LIMITER_ENABLED": "false",
            "LOG_LEVEL": "warn",
            "STORAGE_LOCAL_ROOT": str(self.workdir / "uploads"),
            "EXTENSIONS_PATH": str(self.workdir / "extensions"),
        }
        return inherited | defaults | self._env | self._fixed_environment()

    def _fixed_environment(self) -> dict[str, str]:
        return {
            # A .env in the working directory would win over the environment.
            "CONFIG_PATH": str(self.workdir / "empty.env"),
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "PUBLIC_URL": self.url,
            "SECRET": self.credentials.secret,
            "ADMIN_EMAIL": self.credentials.email,
            "ADMIN_PASSWORD": self.credentials.password,
            "ADMIN_TOKEN": self.credentials.token,
            **self._database.environment(),
        }

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self.pid is None:
                raise RuntimeError(f"Directus ended while starting:\n{self._log_tail()}")
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/server/ping", timeout=5, trust_env=False).is_success:
                    return
            time.sleep(POLL_INTERVAL)
        raise RuntimeError(f"Directus did not answer in {START_TIMEOUT} s:\n{self._log_tail()}")

    def _log_tail(self) -> str:
        text = self.log_path.read_text(encoding="utf-8", errors="replace")
        return self.credentials.mask(text[-2000:])


def _cli(installed: Path) -> Path:
    # Run directly: directus/cli.js first asks npm's registry for a newer version.
    return installed / "node_modules" / "@directus" / "api" / "dist" / "cli" / "run.js"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
