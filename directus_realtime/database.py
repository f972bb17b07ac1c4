"""Database threads whose connections stay healthy, and differences between the vendors."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import (
    Error,
    InterfaceError,
    InternalError,
    OperationalError,
    connections,
    reset_queries,
    router,
)
from django.db.models import BinaryField, F, Func, Model, QuerySet, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Concat

from directus_realtime.utils.backoff import full_jitter
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.site_code import contained
from directus_realtime.utils.system_clock import SystemClock

logger = EventLogger("directus_realtime.database")

P = ParamSpec("P")
K = TypeVar("K")
T = TypeVar("T")
M = TypeVar("M", bound=Model)

#: Errors of a database that cannot be reached; every other one is a defect of this package.
DATABASE_IS_AWAY = (OperationalError, InterfaceError)
#: PostgreSQL's states of a server that is read-only at present (a failover, a full disk), and of a
#: transaction that was idle or open for too long, for example while this process was paused.
_AWAY_STATES = frozenset({"25006", "25P03", "25P04"})
#: PostgreSQL's states of a serialization failure and of a deadlock, and MariaDB's numbers of a
#: deadlock and of a row that changed since the snapshot.
_CONFLICT_STATES = frozenset({"40001", "40P01"})
_CONFLICT_NUMBERS = frozenset({1213, 1020})
#: Seconds; the longest wait between two attempts while the database is unavailable.
_CEILING = 5.0

_sqlite_turn = threading.RLock()


def own_alias() -> str:
    """Return the alias of the database that the tables of this app are written to."""
    return router.db_for_write(apps.get_model("directus_realtime", "InboxEvent"))


def sqlite_write_lock(using: str) -> AbstractContextManager[object]:
    """Return a lock to hold while writing; it does nothing on databases other than SQLite.

    SQLite has one write lock, and a thread that finds it taken sleeps for ever longer spans
    before the next attempt; this lock is handed over at once.
    """
    return _sqlite_turn if connections[using].vendor == "sqlite" else nullcontext()


def in_bulk(rows: QuerySet[M], values: Iterable[Any], field: str = "pk") -> dict[Any, M]:
    """Like ``QuerySet.in_bulk()``, also as the first query of a thread.

    Django 6.0.0 asks SQLite's connection for its limits before it opens it.

    Args:
        rows: The rows to select from.
        values: Values of the field, which is unique.
        field: Name of the field.
    """
    found = rows.filter(**{f"{field}__in": list(values)})
    return {getattr(row, field): row for row in found}


def chunks(values: Iterable[T], size: int = 500) -> Iterator[list[T]]:
    """Split values into lists, each small enough for one statement or request."""
    values = list(values)
    return (values[start : start + size] for start in range(0, len(values), size))


def grouped(items: Iterable[tuple[K, T]]) -> dict[K, list[T]]:
    """Return the second parts of pairs by the first."""
    groups: dict[K, list[T]] = {}
    for key, value in items:
        groups.setdefault(key, []).append(value)
    return groups


def of_connections(rows: QuerySet[Any], aliases: Iterable[str]) -> QuerySet[Any]:
    """Return those rows of the inbox, filtered by state, that belong to some connections.

    No index is used for the connection: SQLite would choose the one that has every row of the
    connection, though nearly all of them are done, and few are in the requested state.
    """
    plain = rows.alias(plain_connection=Concat("connection", Value("")))
    found: QuerySet[Any] = plain.filter(plain_connection__in=list(aliases))
    return found


def exactly(column: str, using: str) -> Combinable:
    """Return a column to group rows by, case-sensitive on MariaDB as well."""
    if connections[using].vendor != "mysql":
        return F(column)
    template = "CAST(%(expressions)s AS BINARY)"
    return Func(column, template=template, output_field=BinaryField())


class DatabaseThread:
    """One thread that runs functions one after another.

    Django's connections belong to threads, so the thread that uses a connection must also
    keep it healthy: nothing else closes it in a command without requests.

    Args:
        name: Name of the thread.
        clock: Measures the waits between two attempts.
    """

    def __init__(self, name: str, clock: SystemClock | None = None) -> None:
        self._name = name
        self._clock = clock or SystemClock()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"directus-{name}")
        self._closing: Future[None] | None = None

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in the thread."""

        def in_thread() -> T:
            _keep_healthy()
            try:
                with contained():  # a router, a user model, a receiver of post_save …
                    return work(*args, **kwargs)
            except InternalError as error:
                if not _is_unavailable(error):
                    raise
                _close_failed()
                raise OperationalError(*error.args) from error
            finally:
                if settings.DEBUG:
                    reset_queries()
                _keep_healthy()

        return await asyncio.get_running_loop().run_in_executor(self._executor, in_thread)

    async def run_with_retry(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in the thread, and retry while the database is unavailable.

        The function must be idempotent: the answer of a commit can get lost.
        """
        delays = full_jitter(ceiling=_CEILING, clock=self._clock)
        is_away = False
        while True:
            try:
                result = await self.run(work, *args, **kwargs)
            except DATABASE_IS_AWAY as error:
                is_conflict = is_transaction_conflict(error)
                if not is_away and not is_conflict:
                    logger.warning(
                        "database-away",
                        "The database is away (%s); waiting for it.",
                        on_one_line(error),
                        task=self._name,
                        error=on_one_line(error),
                    )
                is_away = is_away or not is_conflict
                await self._clock.sleep(next(delays))
            else:
                if is_away:
                    logger.info("database-back", "The database is back.", task=self._name)
                return result

    async def aclose(self) -> None:
        """Close the thread's connections and stop it."""
        await asyncio.get_running_loop().run_in_executor(self._executor, connections.close_all)
        self._executor.shutdown(wait=False)

    def close_soon(self) -> None:
        """Close the connections and stop the thread after its present work, without waiting."""
        self._closing = self._executor.submit(connections.close_all)
        self._executor.shutdown(wait=False)

    @property
    def is_busy(self) -> bool:
        """Whether the work that ran when the thread was closed has not ended."""
        return self._closing is not None and not self._closing.done()


class AsyncConnections:
    """The connections of ``async def`` receivers.

    They belong to the thread of ``sync_to_async``, and so of Django's asynchronous ORM: without
    requests, nothing keeps them healthy there.
    """

    def __init__(self) -> None:
        self._check: asyncio.Task[None] | None = None

    async def check(self) -> None:
        """Queue a health check in the thread, ahead of all later work; do not wait for it."""
        if self._check is None or self._check.done():
            self._check = asyncio.create_task(sync_to_async(_keep_healthy)())
            await asyncio.sleep(0)  # until that is in the queue of the thread


def _keep_healthy() -> None:
    """Close connections that failed or are too old, as Django does around a request.

    ``CONN_MAX_AGE = 0`` (Django's default) is about requests; to open a connection for
    every batch of events would cost more than the batch, so it means no limit here.
    Connections of a pool return to it, for the other threads.
    """
    for wrapper in connections.all(initialized_only=True):
        if wrapper.settings_dict["OPTIONS"].get("pool"):
            wrapper.close()
            continue
        if not wrapper.settings_dict["CONN_MAX_AGE"]:
            wrapper.close_at = None
        wrapper.close_if_unusable_or_obsolete()


def is_transaction_conflict(error: Error) -> bool:
    """Return whether a transaction failed only because of others at the same time.

    Above READ COMMITTED that is normal: the transaction is to be run again.
    """
    number = error.args[0] if error.args else None
    return _state(error) in _CONFLICT_STATES or number in _CONFLICT_NUMBERS


def _is_unavailable(error: InternalError) -> bool:
    """Return whether an internal error will not occur on another connection."""
    return _state(error) in _AWAY_STATES


def _state(error: Error) -> object:
    cause = error.__cause__  # of psycopg, or of psycopg2
    return getattr(cause, "sqlstate", getattr(cause, "pgcode", None))


def _close_failed() -> None:
    """Close failed connections, usable or not: a new one may lead to another server."""
    for wrapper in connections.all(initialized_only=True):
        if wrapper.errors_occurred:
            wrapper.close()


def on_one_line(error: Exception) -> str:
    """Return the text of a database error, which may have several lines."""
    return " ".join(str(error).split())


def check_tables() -> None:
    """Check that all tables of the app exist, also after an update that adds some.

    Raises:
        ImproperlyConfigured: A table is missing.
    """
    models = apps.get_app_config("directus_realtime").get_models()
    tables = {model._meta.db_table for model in models}
    if not tables <= set(connections[own_alias()].introspection.table_names()):
        raise ImproperlyConfigured(
            "The tables of directus_realtime are missing. Run: python manage.py migrate"
        )
