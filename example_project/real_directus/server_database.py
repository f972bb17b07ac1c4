"""Database and administrator of a Directus server, copied from a template after the first use."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from example_project.real_directus.npm import DirectusUnavailable

if TYPE_CHECKING:
    import psycopg

CREDENTIALS_FILE = "credentials.json"
DATABASE_FILE = "data.db"
DUMP_FILE = "data.sql"
COPY_TIMEOUT = 120.0  # seconds; under one on an idle machine
DEFAULT_MARIADB_PORT = 3306


@dataclass(frozen=True)
class Credentials:
    """The administrator of one server. Secrets are kept out of the repr."""

    email: str
    password: str = field(repr=False)
    token: str = field(repr=False)
    secret: str = field(repr=False)

    @classmethod
    def generate(cls) -> Credentials:
        """Return new random credentials."""
        return cls(
            email=f"admin-{secrets.token_hex(4)}@example.com",
            password=secrets.token_urlsafe(18),
            token=secrets.token_urlsafe(24),
            secret=secrets.token_urlsafe(32),
        )

    @classmethod
    def load(cls, folder: Path) -> Credentials:
        """Read the file that :meth:`save` wrote."""
        return cls(**json.loads((folder / CREDENTIALS_FILE).read_text(encoding="utf-8")))

    def save(self, folder: Path) -> None:
        """Write them into the folder, readable by the owner only."""
        handle = os.open(folder / CREDENTIALS_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file)

    def mask(self, text: str) -> str:
        """Return the text with every secret replaced by stars."""
        for secret in (self.password, self.token, self.secret):
            text = text.replace(secret, "***")
        return text


def server_database(database: str, workdir: Path) -> ServerDatabase:
    """Return the database that a server was asked to use.

    Args:
        database: ``"sqlite"``, or the URL of an empty PostgreSQL or MariaDB database.
        workdir: The server's folder, which has the file of an SQLite database.

    Raises:
        ValueError: The URL is of another kind of database.
    """
    if database == "sqlite":
        return SqliteDatabase(workdir)
    scheme = urlsplit(database).scheme
    if scheme in ("postgres", "postgresql"):
        return PostgresDatabase(database)
    if scheme in ("mysql", "mariadb"):
        return MariaDatabase(database)
    raise ValueError(
        f"A Directus server cannot be started on a database of the kind {scheme!r}. "
        'Use "sqlite", or a URL that begins with postgres:// or mysql://.'
    )


class ServerDatabase(ABC):
    """A database that can be saved as a template and be filled from one.

    Attributes:
        label: Part of the name of the template's folder; the same for databases that can share
            a template.
    """

    label: str

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Return the settings that lead Directus to this database."""

    @abstractmethod
    def fill(self, template: Path) -> None:
        """Copy the template into this database, which must be empty.

        Args:
            template: The template's folder.
        """

    @abstractmethod
    def _save(self, folder: Path, credentials: Credentials) -> None:
        """Copy this database to a template."""

    def has_template(self, template: Path) -> bool:
        """Say whether the template is complete."""
        return (template / CREDENTIALS_FILE).exists()

    def save(self, template: Path, workdir: Path) -> None:
        """Make this bootstrapped database the template, in one step.

        Args:
            template: The template's folder.
            workdir: The folder of the server that was bootstrapped.
        """
        building = Path(tempfile.mkdtemp(prefix=".template-", dir=template.parent))
        self._save(building, Credentials.load(workdir))
        shutil.copy2(workdir / CREDENTIALS_FILE, building / CREDENTIALS_FILE)
        shutil.rmtree(template, ignore_errors=True)
        building.rename(template)


class SqliteDatabase(ServerDatabase):
    """A file in the server's folder.

    Args:
        workdir: The server's folder.
    """

    label = ""

    def __init__(self, workdir: Path) -> None:
        self._file = workdir / DATABASE_FILE

    def environment(self) -> dict[str, str]:
        return {"DB_CLIENT": "sqlite3", "DB_FILENAME": str(self._file)}

    def fill(self, template: Path) -> None:
        """Copy the template's file."""
        shutil.copy2(template / DATABASE_FILE, self._file)

    def _save(self, folder: Path, credentials: Credentials) -> None:
        shutil.copy2(self._file, folder / DATABASE_FILE)


class PostgresDatabase(ServerDatabase):
    """A PostgreSQL database; the template is another database of the same server.

    Args:
        url: Its URL. The role must be allowed to create databases.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._server_url, _, self._name = url.rpartition("/")
        parts = urlsplit(url)
        self.label = f"-postgres-{_digest(f'{parts.hostname}:{parts.port}')}"

    def environment(self) -> dict[str, str]:
        return {"DB_CLIENT": "pg", "DB_CONNECTION_STRING": self._url}

    def has_template(self, template: Path) -> bool:
        """Say whether the template is complete, in the cache and on this server."""
        if not super().has_template(template):
            return False
        query = "SELECT 1 FROM pg_database WHERE datname = %s"
        with self._connect("postgres") as server:
            return server.execute(query, [_template_name(template)]).fetchone() is not None

    def fill(self, template: Path) -> None:
        """Replace this empty database by a copy of the template.

        Raises:
            RuntimeError: The database is not empty.
        """
        with self._connect(self._name) as database:
            query = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
            (tables,) = database.execute(query).fetchone() or (0,)
        if tables:
            raise RuntimeError(
                f"The database {self._name!r} has {tables} tables. A Directus server under test "
                "needs an empty database, or the folder with which it used this one before."
            )
        with self._connect("postgres") as server:
            server.execute(f'DROP DATABASE "{self._name}"')
            server.execute(f'CREATE DATABASE "{self._name}" TEMPLATE "{_template_name(template)}"')

    def _save(self, folder: Path, credentials: Credentials) -> None:
        name = f"directus_template_{_digest(credentials.token)}"
        with self._connect("postgres") as server:
            server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{self._name}"')

    def _connect(self, name: str) -> psycopg.Connection[Any]:
        import psycopg  # the extra "postgres"

        url = f"{self._server_url}/{name}"
        return psycopg.connect(url, autocommit=True, connect_timeout=10)


class MariaDatabase(ServerDatabase):
    """A MariaDB database; the template is a dump. Needs the command line client of MariaDB.

    Args:
        url: Its URL.
    """

    label = "-mariadb"

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._name = parts.path.lstrip("/")
        self._user = unquote(parts.username or "root")
        self._password = unquote(parts.password or "")
        self._host = parts.hostname or "127.0.0.1"
        self._port = str(parts.port or DEFAULT_MARIADB_PORT)

    def environment(self) -> dict[str, str]:
        return {
            "DB_CLIENT": "mysql",
            "DB_HOST": self._host,
            "DB_PORT": self._port,
            "DB_USER": self._user,
            "DB_PASSWORD": self._password,
            "DB_DATABASE": self._name,
        }

    def fill(self, template: Path) -> None:
        """Run the template's dump in this database."""
        self.run((template / DUMP_FILE).read_text(encoding="utf-8"))

    def _save(self, folder: Path, credentials: Credentials) -> None:
        dump = self._execute(["mariadb-dump", "mysqldump"], "")
        (folder / DUMP_FILE).write_text(dump, encoding="utf-8")

    def run(self, statements: str) -> str:
        """Run SQL in this database and return the rows, a line each, separated by tabs.

        Args:
            statements: The SQL.

        Raises:
            DirectusUnavailable: The client of MariaDB is not installed.
            RuntimeError: MariaDB refused the statements.
        """
        return self._execute(["mariadb", "mysql"], statements, "--batch", "--skip-column-names")

    def _execute(self, programs: list[str], statements: str, *arguments: str) -> str:
        program = next(filter(None, map(shutil.which, programs)), None)
        if program is None:
            raise DirectusUnavailable(f"MariaDB's client {programs[0]!r} is not installed.")
        address = ["-h", self._host, "-P", self._port, "-u", self._user]
        done = subprocess.run(  # noqa: S603 - a program found on the PATH
            [program, *address, *arguments, self._name],
            input=statements,
            env={**os.environ, "MYSQL_PWD": self._password},
            capture_output=True,
            text=True,
            timeout=COPY_TIMEOUT,
        )
        if done.returncode != 0:
            raise RuntimeError(f"MariaDB refused: {done.stderr[-500:]}")
        return done.stdout


def _template_name(template: Path) -> str:
    return f"directus_template_{_digest(Credentials.load(template).token)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
