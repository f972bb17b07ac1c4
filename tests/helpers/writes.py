"""Writes through an extension of the tests: unlogged ones, and transactions that stay open.

The server must have been started with ``extensions=[WRITES]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from example_project.real_directus import DirectusAdmin

#: The folder of the extension.
WRITES = Path(__file__).parents[1] / "directus_extension" / "writes"

Write = dict[str, Any]
Action = Literal["create", "update", "update-list", "delete"]


def described(
    collection: str,
    action: Action,
    *,
    keys: Sequence[int | str] = (),
    payload: Any = None,
    logged: bool = True,
    emit: bool = True,
) -> Write:
    """A write, as the extension reads it.

    Args:
        collection: The collection.
        action: ``update-list`` is the ``PATCH`` with a list, whose events come early.
        keys: The items to update or delete.
        payload: The item or the items to create; the data of an update; the objects of a list.
        logged: Whether the activity log gets rows of it.
        emit: Whether events are sent.
    """
    return {
        "collection": collection,
        "action": action,
        "keys": list(keys),
        "payload": payload,
        "logged": logged,
        "emit": emit,
    }


def create_unlogged(
    admin: DirectusAdmin, collection: str, items: Sequence[dict[str, Any]], *, emit: bool = True
) -> list[Any]:
    """Create items without rows in the activity log, and return their keys."""
    write = described(collection, "create", payload=list(items), logged=False, emit=emit)
    keys: list[Any] = admin.request("POST", "/writes", write)
    return keys


def update_unlogged(
    admin: DirectusAdmin,
    collection: str,
    keys: Sequence[int | str],
    payload: dict[str, Any],
    *,
    emit: bool = True,
) -> None:
    """Update items without rows in the activity log."""
    write = described(collection, "update", keys=keys, payload=payload, logged=False, emit=emit)
    admin.request("POST", "/writes", write)


def delete_unlogged(
    admin: DirectusAdmin, collection: str, keys: Sequence[int | str], *, emit: bool = True
) -> None:
    """Delete items without rows in the activity log."""
    write = described(collection, "delete", keys=keys, logged=False, emit=emit)
    admin.request("POST", "/writes", write)


class OpenTransaction:
    """Logged writes in a transaction that stays open until it is committed or rolled back.

    As a context manager it is rolled back at the end of the block, unless it was committed.
    It needs a database with more than one connection: on SQLite everything else would wait.

    Attributes:
        keys: The keys of each write, in its order.

    Args:
        admin: REST access to the server.
        writes: The writes, made by :func:`described`.
    """

    def __init__(self, admin: DirectusAdmin, *writes: Write) -> None:
        self._admin = admin
        begun = admin.request("POST", "/writes/transactions", {"writes": list(writes)})
        self._id: str | None = begun["id"]
        self.keys: list[Any] = begun["keys"]

    def commit(self) -> None:
        """Make the writes visible."""
        self._end("commit")

    def rollback(self) -> None:
        """Undo the writes; the ids of their rows in the activity log are used up."""
        self._end("rollback")

    def _end(self, how: str) -> None:
        self._admin.request("POST", f"/writes/transactions/{self._id}/{how}", {})
        self._id = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._id is not None:
            self.rollback()
