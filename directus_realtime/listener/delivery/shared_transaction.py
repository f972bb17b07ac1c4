"""Transaction that several receivers share, with a savepoint for each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from directus_realtime.database import is_transaction_conflict, sqlite_write_lock
from directus_realtime.listener.delivery.receiver_calls import (
    LEFT_OPEN,
    Call,
    Failure,
    TransactionBroken,
)
from directus_realtime.models import InboxEvent
from directus_realtime.receivers import receiver_name
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.site_code import contained

logger = EventLogger("directus_realtime.receivers")

Hook = Callable[[], object]


@contextmanager
def shared_transaction(using: str) -> Iterator[SharedTransaction]:
    """Run receivers in one transaction, and their ``on_commit`` hooks after it.

    Args:
        using: Alias of the database.

    Raises:
        django.db.Error: The commit failed; the transaction is rolled back, unless the answer
            of a successful commit got lost.
    """
    connection = connections[using]
    with ExitStack() as lock:
        shared = SharedTransaction(connection, lock)
        with connection.execute_wrapper(shared.watch), transaction.atomic(using):
            yield shared
            hooks = shared.take_hooks()
    _run_hooks(hooks)


class SharedTransaction:
    """Open transaction in which receivers are called.

    A savepoint costs two round trips, so it is created when a receiver first uses the database.

    Args:
        connection: Connection with the open transaction.
        lock: Context that ends with the transaction; the write lock of SQLite is held in it.

    Attributes:
        is_used: Whether any receiver has used the database.
    """

    def __init__(self, connection: BaseDatabaseWrapper, lock: ExitStack) -> None:
        self._connection = connection
        self._lock = lock
        self._has_lock = False
        self._is_sqlite = connection.vendor == "sqlite"
        self._is_calling = False
        self._savepoint: str | None = None
        self._conflict: Error | None = None
        self.is_used = False

    @property
    def locks_others_out(self) -> bool:
        """Whether other connections cannot write until the transaction ends."""
        return self._is_sqlite and self.is_used

    def call(self, call: Call) -> Failure | None:
        """Call a receiver, and roll back its work where it fails.

        Raises:
            django.db.Error: The transaction is broken, with the work of all receivers in it.
        """
        hooks = len(self._connection.run_on_commit)
        depth = len(self._connection.savepoint_ids), len(self._connection.atomic_blocks)
        self._savepoint = self._conflict = None
        self._is_calling = True
        try:
            failure = call.run()
        finally:
            self._is_calling = False
        if self._connection.closed_in_transaction:
            raise TransactionBroken(
                "The receiver closed the database connection in the middle of its "
                "transaction. Decorate it with directus_realtime.signals.non_atomic."
            )
        if len(self._connection.savepoint_ids) > depth[0]:
            del self._connection.savepoint_ids[depth[0] :]
            del self._connection.atomic_blocks[depth[1] :]
            raise TransactionBroken(LEFT_OPEN)
        failure = failure or self._keep(call)
        if failure is not None:
            if self._conflict is not None:
                raise self._conflict  # a savepoint does not help: the snapshot stays the same
            self._undo(hooks)
        return failure

    def take_hooks(self) -> Sequence[Hook]:
        """Return the ``on_commit`` hooks, and remove them from Django's own list."""
        hooks = [entry[1] for entry in self._connection.run_on_commit]
        self._connection.run_on_commit = []
        return hooks

    def watch(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        """Wrap the execution of a query; see ``connection.execute_wrapper``."""
        if self._is_sqlite and not self._has_lock:
            if str(sql).startswith("BEGIN "):
                # IMMEDIATE would block other writers while receivers do not use the database.
                return execute("BEGIN", params, many, context)
            self._has_lock = True
            self._lock.enter_context(sqlite_write_lock(self._connection.alias))
        if self._is_calling and self._savepoint is None:
            self._is_calling = False  # the next statements are not the receiver's
            try:
                self._prepare_for_use()
            finally:
                self._is_calling = True
        try:
            return execute(sql, params, many, context)
        except Error as error:
            if is_transaction_conflict(error):
                self._conflict = error
            raise

    def _prepare_for_use(self) -> None:
        if self._is_sqlite and not self.is_used:
            # A transaction that reads before it writes fails where another one wrote in
            # between; one that writes first waits for the lock.
            table = self._connection.ops.quote_name(InboxEvent._meta.db_table)
            with self._connection.cursor() as cursor:
                cursor.execute(f"UPDATE {table} SET id = id WHERE 0")  # noqa: S608
        self.is_used = True
        self._savepoint = self._connection.savepoint()

    def _keep(self, call: Call) -> Failure | None:
        """Release the savepoint; return a failure where the receiver hid a database error."""
        cause: Error | None = None
        if not self._connection.needs_rollback:
            try:
                if self._savepoint is not None:
                    self._connection.savepoint_commit(self._savepoint)
                return None
            except Error as error:
                cause = error
        hidden = transaction.TransactionManagementError(
            "The receiver caught an error of the database outside of atomic(), so its work "
            "cannot be committed. Put atomic() around what may fail."
        )
        hidden.__cause__ = cause
        return Failure.of(call, hidden)

    def _undo(self, hooks: int) -> None:
        self._connection.needs_rollback = False
        if self._savepoint is not None:
            self._connection.savepoint_rollback(self._savepoint)
            self._connection.savepoint_commit(self._savepoint)
        del self._connection.run_on_commit[hooks:]


def _run_hooks(hooks: Iterable[Hook]) -> None:
    """Run hooks, and log those that fail: the transaction is committed already."""
    for hook in hooks:
        try:
            with contained():
                hook()
        except Exception:
            name = receiver_name(hook)
            logger.exception("hook-failed", "The on_commit hook %s failed.", name, hook=name)
