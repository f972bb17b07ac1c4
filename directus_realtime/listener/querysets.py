"""Finds the rows of the inbox that are in a certain state."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import connections
from django.db.models import BinaryField, F, Func, QuerySet, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Concat

from directus_realtime.models import InboxEvent


def of_connections(rows: QuerySet[InboxEvent], aliases: Iterable[str]) -> QuerySet[InboxEvent]:
    """Those of some rows that belong to some connections; the rows are asked for by state.

    No index is used for the connection: SQLite would take the one that has every row of the
    connection, though nearly all of them are done, and few are in the state that is asked for.

    Args:
        rows: Filtered by state.
        aliases: Of the connections.
    """
    return rows.alias(plain_connection=Concat("connection", Value(""))).filter(
        plain_connection__in=list(aliases)
    )


def exactly(column: str, using: str) -> Combinable:
    """A column to group rows by: MariaDB takes texts for the same that differ in case only.

    Args:
        column: Its name.
        using: Alias of the database.
    """
    if connections[using].vendor != "mysql":
        return F(column)
    template = "CAST(%(expressions)s AS BINARY)"
    return Func(column, template=template, output_field=BinaryField())
