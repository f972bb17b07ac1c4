"""Rows for the subscriptions declared in code, beside those made in the admin.

The listener owns the rows of declarations. A row whose declaration is missing is *orphaned*: it
is kept with its place in the log until it is declared again or a person removes it, because the
process may only lack the app that declares it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, models, router
from django.utils import timezone

from directus_realtime.database import own_alias
from directus_realtime.settings import aliases
from directus_realtime.subscriptions import Subscription, declared
from directus_realtime.utils.logs import EventLogger

logger = EventLogger("directus_realtime.listener")

#: Columns that make the query of a subscription.
_QUERY = (
    *("connection", "collection", "on_create", "on_update", "on_delete"),
    *("filter", "fields", "item"),
)


@dataclass(frozen=True)
class Departure:
    """A collection that a declared subscription does not follow any longer.

    Attributes:
        connection: Alias of the connection.
        collection: Name of the collection.
        reason: Why, as a sentence without a full stop.
    """

    connection: str
    collection: str
    reason: str


def sync_declared(connections: Collection[str] | None = None) -> list[Departure]:
    """Create, update and rename the rows of declared subscriptions, and mark orphaned ones.

    A row made in the admin is never changed: where it has the name of a declaration,
    the declaration is left out and an error is logged.

    Args:
        connections: Aliases of the connections that this process listens to; all by default.
            Rows of others belong to other listeners.

    Returns:
        Collections whose changes since the last read reach no subscription.
    """
    using = own_alias()
    sync = _Sync(using, aliases() if connections is None else connections)
    sync.write_declared()
    sync.orphan_missing()
    return sync.departures


def rows_as_declared(alias: str) -> list[Any]:
    """Return the subscriptions of a connection as this process declares them; nothing is saved.

    Rows that other processes declare, and those of the admin, are as they are stored.

    Args:
        alias: Alias of the connection.
    """
    rows = _all_rows(own_alias())
    known = {row.name: row for row in rows}
    for name, (subscription, module) in declared().items():
        row = known.get(name)
        if row is None:
            row = _new_row(name, module)
            rows.append(row)
        if row.declared_in:
            _assign(row, _columns(subscription, module))
    return [row for row in rows if row.connection == alias and row.enabled]


class _Sync:
    """One pass over the rows of declarations.

    Args:
        using: Alias of the database.
        connections: Aliases of the connections whose rows may be changed.
    """

    def __init__(self, using: str, connections: Collection[str]) -> None:
        self.departures: list[Departure] = []
        self._using = using
        self._connections = connections
        rows = _all_rows(using)
        self._rows = {row.name: row for row in rows}
        self._missing = [
            row
            for row in rows
            if row.declared_in and row.name not in declared() and row.connection in connections
        ]

    def write_declared(self) -> None:
        """Create, update and rename the rows of the declarations."""
        configured = aliases()
        for name, (subscription, module) in declared().items():
            if subscription.connection not in configured:
                _log_unknown_connection(subscription, module)
            elif subscription.connection not in self._connections:
                continue
            columns = _columns(subscription, module)
            row = self._rows.get(name) or self._renamed(name, columns) or _new_row(name, module)
            if reason := self._reason_against(row):
                _log_left_out(name, module, reason)
            else:
                self._write(row, columns)

    def orphan_missing(self) -> None:
        """Mark the rows without a declaration; each keeps its place in the log."""
        for row in self._missing:
            _log_orphaned(row)
            if row.orphaned_at is None:
                self._depart(row, f"the subscription {row.name!r} is no longer declared")
                row.orphaned_at = timezone.now()
                row.hold_place(_position(row.connection, self._using))
                row.save(using=self._using, update_fields=["orphaned_at", "unread"])

    def _renamed(self, name: str, columns: dict[str, Any]) -> Any:
        """Return the row of a declaration that has another name now; ``None`` for a new one."""
        row = next((each for each in self._missing if _has_query(each, columns)), None)
        # A database may ignore case in names.
        row = next((each for each in self._missing if _is_alike(each.name, name)), row)
        if row is not None:
            self._missing.remove(row)
            _log_renamed(row, name)
        return row

    def _reason_against(self, row: Any) -> str:
        """Return why a row cannot be that of a declaration; empty where it can."""
        if not row.declared_in:
            return "the admin has one of that name"
        if row.pk is None and (other := self._same_name(row)):
            return f"the database takes its name for that of {other.name!r}"
        return ""

    def _same_name(self, row: Any) -> Any:
        return type(row).objects.using(self._using).filter(name=row.name).first()

    def _write(self, row: Any, columns: dict[str, Any]) -> None:
        if row.pk is not None:
            self._note_departure(row, columns)
        changed = _assign(row, columns)
        if row.pk is None:
            row.save(using=self._using)
        elif changed:
            row.save(using=self._using, update_fields=changed)

    def _note_departure(self, row: Any, columns: dict[str, Any]) -> None:
        before = row.connection, row.collection
        now = columns["connection"], columns["collection"]
        if before != now:
            self._depart(row, f"the subscription {row.name!r} follows {now[1]} of {now[0]} instead")

    def _depart(self, row: Any, reason: str) -> None:
        is_followed = row.followed_from is not None or row.state == "subscribed"
        if is_followed and row.enabled and row.orphaned_at is None:
            self.departures.append(Departure(row.connection, row.collection, reason))


def _all_rows(using: str) -> list[Any]:
    from directus_realtime.models import DirectusSubscription

    return list(DirectusSubscription.objects.using(using).order_by("name"))


def _new_row(name: str, module: str) -> Any:
    from directus_realtime.models import DirectusSubscription

    return DirectusSubscription(name=name, declared_in=module)


def _position(alias: str, using: str) -> Any:
    from directus_realtime.models import LogPosition

    return LogPosition.objects.using(using).filter(alias=alias).first()


def _has_query(row: Any, columns: dict[str, Any]) -> bool:
    return all(getattr(row, name) == columns[name] for name in _QUERY)


def _is_alike(name: str, other: str) -> bool:
    return name.casefold() == other.casefold()


def _columns(subscription: Subscription, module: str) -> dict[str, Any]:
    query = subscription.query
    browsers = subscription.browsers
    return {
        "name": subscription.name,
        "connection": subscription.connection,
        "collection": query.collection,
        "on_create": "create" in query.events,
        "on_update": "update" in query.events,
        "on_delete": "delete" in query.events,
        "filter": query.filter,
        "fields": list(query.fields),
        "item": "" if query.item is None else str(query.item),
        "group": subscription.group,
        "snapshot": subscription.snapshot,
        "debounce": subscription.debounce,
        "debounce_by": subscription.debounce_by,
        "browser_access": browsers.access if browsers else "nobody",
        "browser_permission": browsers.permission if browsers else "",
        "browser_first_load": browsers.first_load if browsers else 0,
        "enabled": True,
        "declared_in": module,
        "orphaned_at": None,
    }


def _assign(row: Any, columns: dict[str, Any]) -> list[str]:
    """Set columns of a row; return the names of those that differed."""
    changed = [name for name, value in columns.items() if getattr(row, name) != value]
    for name in changed:
        setattr(row, name, columns[name])
    return changed


# Records


def _log_unknown_connection(subscription: Subscription, module: str) -> None:
    logger.error(
        "declaration-without-connection",
        "The subscription %r, declared in %s, is for the connection %r, which is not "
        "in DIRECTUS_REALTIME.",
        subscription.name,
        module,
        subscription.connection,
        subscription=subscription.name,
        declared_in=module,
        connection=subscription.connection,
    )


def _log_left_out(name: str, module: str, reason: str) -> None:
    logger.error(
        "declaration-left-out",
        "The subscription %r, declared in %s, is left out: %s. Rename one of them.",
        name,
        module,
        reason,
        subscription=name,
        declared_in=module,
    )


def _log_renamed(row: Any, name: str) -> None:
    logger.info(
        "declaration-renamed",
        "The subscription %r is declared as %r now, and continues at its place in the log.",
        row.name,
        name,
        subscription=name,
        previous=row.name,
        connection=row.connection,
    )


def _log_orphaned(row: Any) -> None:
    logger.warning(
        "declaration-missing",
        "%s  the subscription %r is no longer declared (it was in %s). It is not followed, and "
        "keeps its place in the log. Declare it again, or remove it: python manage.py "
        "directus_prune --orphaned",
        row.connection,
        row.name,
        row.declared_in,
        connection=row.connection,
        subscription=row.name,
        declared_in=row.declared_in,
    )


# After migrate


def show_declared_after_migrate(
    using: str = DEFAULT_DB_ALIAS, plan: Sequence[tuple[Any, bool]] = (), **kwargs: Any
) -> None:
    """Receiver of ``post_migrate``: show the declarations in the admin before the first listen.

    Django sends it for each database, for any app, on the way back, and for the databases of
    tests. Only the named database is written to, and only where it has the present tables.

    Args:
        using: Alias of the migrated database.
        plan: The applied migrations, each with whether it was reversed.
        **kwargs: Not used.
    """
    from directus_realtime.models import DirectusSubscription, ListenerLease

    tables = (DirectusSubscription, ListenerLease)
    is_reversed = any(backwards for _migration, backwards in plan)
    if is_reversed or using != own_alias() or not _has_tables(using, tables):
        return
    leases = ListenerLease.objects.using(using).values_list("alias", flat=True)
    _Sync(using, set(aliases()) - set(leases)).write_declared()


def _has_tables(using: str, tables: Iterable[type[models.Model]]) -> bool:
    """Return whether tables are in a database, with the columns of this version."""
    return all(
        router.allow_migrate_model(using, table) and _has_table(using, table) for table in tables
    )


def _has_table(using: str, table: type[models.Model]) -> bool:
    database, name = connections[using], table._meta.db_table
    with database.cursor() as cursor:
        if name not in database.introspection.table_names(cursor):
            return False
        found = database.introspection.get_table_description(cursor, name)
    columns = {field.column for field in table._meta.local_concrete_fields}
    return {column.name for column in found} == columns
