"""A full disk under SQLite: while a file is there, the database may not grow.

SQLite itself raises the error then, and rolls back as it does on a full disk. It is told
connection by connection, so each connection looks for the file before each statement.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db.backends.signals import connection_created

#: Path of the file that stands for a full disk.
FILE = os.environ.get("CHAOS_DISK_FULL", "")
_NO_LIMIT = 4294967294


class _Limit:
    def __init__(self) -> None:
        self._is_full = False

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        is_full = os.path.exists(FILE)
        if is_full is not self._is_full:
            self._is_full = is_full
            connection = context["connection"].connection
            # A limit below the present size means the present size.
            connection.execute(f"PRAGMA max_page_count = {1 if is_full else _NO_LIMIT}")
        return execute(sql, params, many, context)


def _add_limit(connection: Any, **kwargs: Any) -> None:
    wrappers = connection.execute_wrappers
    wrappers[:] = [wrapper for wrapper in wrappers if not isinstance(wrapper, _Limit)]
    wrappers.append(_Limit())


def obey() -> None:
    """Look for the file, where one is named and the database is SQLite."""
    if FILE and settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        connection_created.connect(_add_limit)
