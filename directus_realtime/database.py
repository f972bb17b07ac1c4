"""A thread of its own for database work, with a connection that is kept healthy."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import (
    InterfaceError,
    InternalError,
    OperationalError,
    connections,
    reset_queries,
    router,
)
from django.db.models import Model, QuerySet

from directus_realtime.utils.backoff import full_jitter

logger = logging.getLogger("directus_realtime.database")

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=Model)

#: What a lost database looks like; everything else is a mistake of ours.
DATABASE_IS_AWAY = (OperationalError, InterfaceError)
#: What PostgreSQL says of a server that takes no writes at present (a fail-over, a full disk), and
#: of a transaction that was idle, or open, for too long, such as while this process was paused.
_AWAY_STATES = frozenset({"25006", "25P03", "25P04"})
#: Seconds; the longest wait between two tries while the database is away.
_CEILING = 5.0


_sqlite_turn = threading.RLock()


def own_alias() -> str:
    """Alias of the database that the tables of this app are in: the one that is written to."""
    return router.db_for_write(apps.get_model("directus_realtime", "InboxEvent"))


def sqlite_write_lock(using: str) -> AbstractContextManager[object]:
    """Hold it while writing, so that the threads of this process take turns on SQLite.

    SQLite has one write lock, and whoever finds it taken sleeps for ever longer spans before
    looking again; here it is handed over at once. Other databases need nothing of the kind.

    Args:
        using: Alias of the database.
    """
    return _sqlite_turn if connections[using].vendor == "sqlite" else nullcontext()


def in_bulk(rows: QuerySet[M], values: Iterable[Any], field: str = "pk") -> dict[Any, M]:
    """Like ``QuerySet.in_bulk()``, also as the first query of a thread.

    Django 6.0.0 asks SQLite's connection for its limits before it opens it.

    Args:
        rows: Of which some are wanted.
        values: Of the field, which is unique.
        field: Its name.
    """
    found = rows.filter(**{f"{field}__in": list(values)})
    return {getattr(row, field): row for row in found}


class DatabaseThread:
    """Runs functions one after another in one thread.

    Django's connections belong to threads, so the thread that uses a connection is also
    the one that must look after it: nothing else closes it in a command without requests.

    Args:
        name: Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"directus-{name}")
        self._closing: Future[None] | None = None

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in the thread."""

        def in_thread() -> T:
            _keep_healthy()
            try:
                return work(*args, **kwargs)
            except InternalError as error:
                if not _tells_absence(error):
                    raise
                _close_failed()
                raise OperationalError(*error.args) from error
            finally:
                if settings.DEBUG:
                    reset_queries()
                _keep_healthy()

        return await asyncio.get_running_loop().run_in_executor(self._executor, in_thread)

    async def run_with_retry(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Like :meth:`run`, again and again while the database is away.

        The function must be one that may run twice: the answer of a commit can get lost.
        """
        delays = full_jitter(ceiling=_CEILING)
        is_away = False
        while True:
            try:
                result = await self.run(work, *args, **kwargs)
            except DATABASE_IS_AWAY as error:
                if not is_away:
                    logger.warning(
                        "The database is away (%s); waiting for it.",
                        on_one_line(error),
                        extra={
                            "event": "database-away",
                            "task": self._name,
                            "error": on_one_line(error),
                        },
                    )
                is_away = True
                await asyncio.sleep(next(delays))
            else:
                if is_away:
                    logger.info(
                        "The database is back.",
                        extra={"event": "database-back", "task": self._name},
                    )
                return result

    async def aclose(self) -> None:
        """Close the thread's connections and end it."""
        await asyncio.get_running_loop().run_in_executor(self._executor, connections.close_all)
        self._executor.shutdown(wait=False)

    def close_soon(self) -> None:
        """Like :meth:`aclose`, without waiting: after what the thread is busy with."""
        self._closing = self._executor.submit(connections.close_all)
        self._executor.shutdown(wait=False)

    @property
    def is_busy(self) -> bool:
        """Whether what it was busy with when it was closed is not through."""
        return self._closing is not None and not self._closing.done()


class AsyncConnections:
    """The connections that ``async def`` receivers use.

    They belong to the thread that ``sync_to_async``, and so Django's asynchronous ORM, works in:
    without requests, nobody looks after them there.
    """

    def __init__(self) -> None:
        self._looking: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """Have them looked at before whatever is begun from now on uses them.

        The thread does one thing after another; where it is busy, it is not waited for.
        """
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(sync_to_async(_keep_healthy)())
            await asyncio.sleep(0)  # until that is in the queue of the thread


def _keep_healthy() -> None:
    """Close connections that failed or are too old, as Django does around a request.

    ``CONN_MAX_AGE = 0`` (Django's default) is about requests; to open a connection for
    every batch of events would cost more than the batch, so it means no limit here. To a
    pool they are given back, for the other threads.
    """
    for wrapper in connections.all(initialized_only=True):
        if wrapper.settings_dict["OPTIONS"].get("pool"):
            wrapper.close()
            continue
        if not wrapper.settings_dict["CONN_MAX_AGE"]:
            wrapper.close_at = None
        wrapper.close_if_unusable_or_obsolete()


def _tells_absence(error: InternalError) -> bool:
    """Whether an error that looks like a mistake of ours will be gone with another connection."""
    cause = error.__cause__  # of psycopg, or of psycopg2
    return getattr(cause, "sqlstate", getattr(cause, "pgcode", None)) in _AWAY_STATES


def _close_failed() -> None:
    """Close what has failed, usable or not: a new connection may lead to another server."""
    for wrapper in connections.all(initialized_only=True):
        if wrapper.errors_occurred:
            wrapper.close()


def on_one_line(error: Exception) -> str:
    """What a database says, which may be several lines."""
    return " ".join(str(error).split())


def check_tables() -> None:
    """Make sure that the app was migrated, also after an update that brought new tables.

    Raises:
        ImproperlyConfigured: It was not.
    """
    models = apps.get_app_config("directus_realtime").get_models()
    tables = {model._meta.db_table for model in models}
    if not tables <= set(connections[own_alias()].introspection.table_names()):
        raise ImproperlyConfigured(
            "The tables of directus_realtime are missing. Run: python manage.py migrate"
        )
