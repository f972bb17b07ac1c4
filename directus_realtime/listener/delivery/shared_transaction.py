"""A transaction that several receivers share, where each one can be undone alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from directus_realtime.database import sqlite_write_lock
from directus_realtime.listener.delivery.receiver_calls import Call, Failure, receiver_name
from directus_realtime.models import InboxEvent

logger = logging.getLogger("directus_realtime.receivers")

Hook = Callable[[], object]


class TransactionBroken(Error):
    """A receiver has destroyed the transaction that it shares with others, or has left one open."""


_LEFT_OPEN = (
    "The receiver began a transaction and did not end it. Use atomic() in a with statement."
)


def call_outside(call: Call) -> Failure | None:
    """Call a receiver outside of a transaction, and end the one that it leaves open.

    All that is written later would be part of it, and would be committed never.
    """
    before = _in_blocks()
    failure = call.run()
    for connection in _in_blocks():
        if connection not in before:
            connection.savepoint_ids, connection.atomic_blocks = [], []
            connection.in_atomic_block = connection.needs_rollback = False
            connection.close()
            failure = failure or Failure.of(call, TransactionBroken(_LEFT_OPEN))
    return failure


def _in_blocks() -> list[BaseDatabaseWrapper]:
    """The connections of this thread on which a transaction is open."""
    every = connections.all(initialized_only=True)
    return [connection for connection in every if connection.in_atomic_block]


@contextmanager
def shared_transaction(using: str) -> Iterator[SharedTransaction]:
    """Run receivers in one transaction; their ``on_commit`` hooks run behind it.

    Args:
        using: Alias of the database.

    Raises:
        django.db.Error: It could not be committed; nothing of it has happened, unless
            the answer of the commit got lost.
    """
    connection = connections[using]
    with ExitStack() as turn:
        shared = SharedTransaction(connection, turn)
        with connection.execute_wrapper(shared.watch), transaction.atomic(using):
            yield shared
            hooks = shared.take_hooks()
    _run_hooks(hooks)


class SharedTransaction:
    """The receivers' side of an open transaction.

    A savepoint for each receiver costs two round trips, so one is made only when a
    receiver first uses the database.

    Args:
        connection: Where the transaction is open.
        turn: Takes what is held until the transaction is over.

    Attributes:
        is_used: Whether some receiver has used the database.
    """

    def __init__(self, connection: BaseDatabaseWrapper, turn: ExitStack) -> None:
        self._connection = connection
        self._turn = turn
        self._has_turn = False
        self._is_sqlite = connection.vendor == "sqlite"
        self._is_calling = False
        self._savepoint: str | None = None
        self.is_used = False

    @property
    def locks_others_out(self) -> bool:
        """Whether nobody else can write to the database before the end."""
        return self._is_sqlite and self.is_used

    def call(self, call: Call) -> Failure | None:
        """Call a receiver; of one that fails, nothing is left in the transaction.

        Raises:
            django.db.Error: The transaction is broken, and with it the work of others.
        """
        hooks = len(self._connection.run_on_commit)
        depth = len(self._connection.savepoint_ids), len(self._connection.atomic_blocks)
        self._savepoint = None
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
            raise TransactionBroken(_LEFT_OPEN)
        failure = failure or self._keep(call)
        if failure is not None:
            self._undo(hooks)
        return failure

    def take_hooks(self) -> Sequence[Hook]:
        """The ``on_commit`` hooks, which Django does not run any more."""
        hooks = [entry[1] for entry in self._connection.run_on_commit]
        self._connection.run_on_commit = []
        return hooks

    def watch(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        """Look at a query before it is executed; see ``connection.execute_wrapper``."""
        if self._is_sqlite and not self._has_turn:
            if str(sql).startswith("BEGIN "):
                # IMMEDIATE would lock others out while receivers do something else.
                return execute("BEGIN", params, many, context)
            self._has_turn = True
            self._turn.enter_context(sqlite_write_lock(self._connection.alias))
        if self._is_calling and self._savepoint is None:
            self._is_calling = False  # these statements are ours
            try:
                self._prepare_for_use()
            finally:
                self._is_calling = True
        return execute(sql, params, many, context)

    def _prepare_for_use(self) -> None:
        if self._is_sqlite and not self.is_used:
            # A transaction that reads before it writes fails where another one wrote
            # in between; whoever writes first waits its turn.
            table = self._connection.ops.quote_name(InboxEvent._meta.db_table)
            with self._connection.cursor() as cursor:
                cursor.execute(f"UPDATE {table} SET id = id WHERE 0")  # noqa: S608
        self.is_used = True
        self._savepoint = self._connection.savepoint()

    def _keep(self, call: Call) -> Failure | None:
        """Release the savepoint; it fails where the receiver hid an error of the database."""
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
    """Run hooks; one that fails is logged, because what it belongs to has happened."""
    for hook in hooks:
        try:
            hook()
        except KeyboardInterrupt:
            raise
        except BaseException:
            logger.exception(
                "The on_commit hook %s failed.",
                receiver_name(hook),
                extra={"event": "hook-failed", "hook": receiver_name(hook)},
            )
