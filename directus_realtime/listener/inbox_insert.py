"""Insertion of rows of the inbox as by ``bulk_create``, at a third of its cost.

Most of that cost is the preparation of each value by its field; few of these columns need it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from django.db import OperationalError, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.constants import OnConflict
from django.db.models.sql import InsertQuery

from directus_realtime.models import InboxEvent

#: Fields whose values need no preparation, as ``InboxEvent.from_event`` and its callers set them.
_PLAIN = (models.CharField, models.TextField, models.IntegerField, models.BooleanField)

_FIELDS = [field for field in InboxEvent._meta.concrete_fields if not field.primary_key]

#: Errors of MariaDB and MySQL, or of their client, for a packet above the limit.
_TOO_LARGE = frozenset({1153, 2020})
#: Errors where the server closed the connection while the packet was being sent.
_HUNG_UP = frozenset({2006, 2013})
#: Maximum bytes of a statement beside the key and the data.
_REST = 10_000


def insert(rows: Sequence[InboxEvent], using: str) -> int:
    """Insert unsaved rows, except those whose event is in the table; ``pk`` is not set.

    Args:
        rows: The rows.
        using: Alias of the database.

    Returns:
        Number of inserted rows.

    Raises:
        django.db.Error: A row could not be inserted; the transaction is broken.
    """
    connection = connections[using]
    if connection.vendor == "mysql":
        # Its INSERT IGNORE turns all errors into warnings, and stores truncated values.
        rows = _unknown(rows, using)
    if not rows:
        return 0
    prepare = [_preparation(field, connection) for field in _FIELDS]
    names = [field.attname for field in _FIELDS]
    with connection.cursor() as cursor:
        cursor.executemany(
            _statement(rows[0], using),
            [
                [make(getattr(row, name)) for name, make in zip(names, prepare, strict=True)]
                for row in rows
            ],
        )
        return int(cursor.rowcount)


def is_too_large(error: BaseException, rows: Iterable[InboxEvent], using: str) -> bool:
    """Return whether MariaDB or MySQL closed the connection because a row exceeds its limit.

    That looks like an unavailable database, but every retry would fail. The connection may
    have been lost for another reason, so the limit is queried on a new one.

    Args:
        error: The error of the transaction, which has ended.
        rows: The rows that were to be stored.
        using: Alias of the database.

    Raises:
        django.db.Error: The database is unavailable indeed.
    """
    connection = connections[using]
    if connection.vendor != "mysql" or connection.in_atomic_block:
        return False
    number = error.args[0] if isinstance(error, OperationalError) and error.args else None
    if number in _HUNG_UP:
        return max(map(_size, rows), default=0) > _limit(connection)
    return number in _TOO_LARGE


def _size(row: InboxEvent) -> int:
    """Return the bytes of the statement that inserts a row: ASCII, some with a backslash."""
    text = row.key_json + row.data_json
    return _REST + len(text) + sum(map(text.count, "\"'\\"))


def _limit(connection: BaseDatabaseWrapper) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        return int(cursor.fetchone()[0])


def _unknown(rows: Sequence[InboxEvent], using: str) -> list[InboxEvent]:
    """Return the rows whose event is not in the table."""
    by_event = {row.event_id: row for row in rows}
    known = InboxEvent.objects.using(using).filter(event_id__in=by_event)
    for event_id in known.values_list("event_id", flat=True):
        del by_event[event_id]
    return list(by_event.values())


def _statement(row: InboxEvent, using: str) -> str:
    """Return Django's statement for one row on this database."""
    is_exact = connections[using].vendor != "mysql"
    query = InsertQuery(InboxEvent, on_conflict=OnConflict.IGNORE if is_exact else None)
    query.insert_values(_FIELDS, [row])
    ((sql, _),) = query.get_compiler(using).as_sql()
    return str(sql)


def _preparation(
    field: models.Field[Any, Any], connection: BaseDatabaseWrapper
) -> Callable[[Any], Any]:
    """Return a function that prepares a value of a field for the database."""
    if isinstance(field, _PLAIN):
        return lambda value: value
    prepare = partial(field.get_db_prep_save, connection=connection)
    if isinstance(field, models.JSONField):
        empty = {text: prepare(json.loads(text)) for text in ("{}", "[]")}
        return lambda value: prepare(value) if value else empty["[]" if value == [] else "{}"]
    if isinstance(field, models.UUIDField) and not connection.features.has_native_uuid_field:
        return lambda value: value.hex
    return lambda value: None if value is None else prepare(value)
