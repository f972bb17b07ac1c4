"""``python manage.py directus_check``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from directus_realtime.declaration_sync import rows_as_declared
from directus_realtime.listener.desired_subscriptions import DesiredSubscription, query_problem
from directus_realtime.listener.diagnostics import (
    ConnectionReport,
    PermissionsReport,
    SubscriptionReport,
    check_connection,
    check_permissions,
)
from directus_realtime.listener.permissions import Need, Permissions
from directus_realtime.management.console import (
    add_connection_argument,
    as_json,
    chosen_connections,
    require_tables,
)
from directus_realtime.models import DirectusSubscription
from directus_realtime.subscriptions import declared_at

_ACTIVITY = {
    "full": "may read all of it",
    "partial": "may read part of it",
    "none": "may not read it",
}
_LOG_REMEDY = (
    "Changes come by the WebSocket alone, and what it does not bring is lost. "
    "--explain-permissions says what to allow."
)
_RETENTION = "changes of a longer outage are lost (ACTIVITY_RETENTION of Directus)"
_NO_USER = (
    "The field user of directus_activity may not be read, so changed_by of events is None. Allow "
    "the token to read it."
)
_NO_HEARTBEAT = "off; the listener finds out by other messages whether the WebSocket is alive"
_CACHE = (
    "Directus answers GET up to {seconds:g} s late (CACHE_ENABLED without CACHE_AUTO_PURGE); the "
    "listener reads past the cache"
)
_NO_SEARCH = (
    "A proxy refuses the HTTP method SEARCH, so items are read by GET with another address each "
    "time, which is slower. Allow SEARCH there."
)
_SOURCES = {
    "log": "from the activity log",
    "socket": "socket only",
    "unknown": "from the activity log, if it is logged",
}
_NEW = "Declared, but not followed before directus_listen is started with this code."
_ORPHANED = (
    "No longer declared, and not followed; it keeps its place in the log. Declare it again, or "
    "remove it: directus_prune --orphaned."
)
_ELSEWHERE = "Not declared by this process; followed as the listener declares it."
#: Seconds that two clocks may differ and count as the same: answers name whole seconds.
_SAME_CLOCK = 2


class Command(BaseCommand):
    """Exit status: 0 where everything works, 1 where anything does not."""

    help = (
        "Connect to Directus, try each subscription, and say what works and what the token "
        "may not do. Nothing is changed, neither in Directus nor in the database. Exits with 1 "
        "if anything is wrong."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_connection_argument(parser, "Check")
        parser.add_argument("--json", action="store_true", help="Print JSON instead of a table.")
        parser.add_argument(
            "--explain-permissions",
            action="store_true",
            help="Say instead which permissions the Directus user needs for the subscriptions, "
            "what of it is missing, and print the smallest policy that does.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        connections = chosen_connections(options["connection"])
        require_tables()
        check: Any = check_connection
        to_dict: Callable[[Any], dict[str, Any]] = asdict
        show: Callable[[Any], None] = self._print
        if options["explain_permissions"]:
            check, to_dict, show = check_permissions, _with_policy, self._print_permissions
        reports = []
        for settings in connections:
            rows = rows_as_declared(settings.alias)
            wanted = [DesiredSubscription.of(row) for row in rows if not query_problem(row)]
            report = asyncio.run(check(settings, wanted))
            if isinstance(report, ConnectionReport):
                _add_rows(report, rows)
            reports.append(report)
        if options["json"]:
            self.stdout.write(as_json([to_dict(report) for report in reports]))
        else:
            for report in reports:
                show(report)
        if not all(report.ok for report in reports):
            sys.exit(1)

    # Connections

    def _print(self, report: ConnectionReport) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING(f"{report.alias}  {report.url}"))
        if report.reason:
            self._row("connection", self.style.ERROR(report.reason))
            return
        self._row("connection", self.style.SUCCESS("ok") + f", as {report.identity}")
        self._print_server(report)
        self._print_log(report)
        if not report.subscriptions:
            self._row("subscriptions", "none enabled")
        for entry in report.subscriptions:
            self._print_subscription(entry)

    def _print_server(self, report: ConnectionReport) -> None:
        server = report.server
        if server is not None:
            self._row("Directus", server.version or "does not say its version")
        if report.socket_problem:
            text = f"none, so changes are found within {report.poll_interval:g} s: "
            self._row("WebSocket", self.style.WARNING(text + report.socket_problem))
        elif server is not None:
            self._row("WebSocket", f"open, {server.websocket_path}, {server.auth_mode} mode")
            self._row("heartbeat", f"{server.heartbeat:g} s" if server.heartbeat else _NO_HEARTBEAT)
        if server is not None:
            limit = "none" if server.query_limit < 0 else str(server.query_limit)
            self._row("query limit", limit)
        if report.cache_lifetime:
            self._row("cache", _CACHE.format(seconds=report.cache_lifetime))
        if not report.lets_search_through:
            self._row("SEARCH", self.style.WARNING(_NO_SEARCH))
        if abs(report.clock_ahead) > _SAME_CLOCK:
            place = "ahead of" if report.clock_ahead > 0 else "behind"
            text = f"Directus is {abs(report.clock_ahead)} s {place} this machine"
            self._row("clock", self.style.WARNING(text))

    def _print_log(self, report: ConnectionReport) -> None:
        log = report.log
        self._row("activity log", _ACTIVITY.get(log.access, log.access))
        if log.problem:
            self._row("", self.style.WARNING(f"{log.problem} {_LOG_REMEDY}"))
            return
        if log.days is None:
            self._row("", "it has no change yet")
        else:
            self._row("", f"it reaches back {log.days:g} days; {_RETENTION}")
        if not log.reads_user:
            self._row("", self.style.WARNING(_NO_USER))

    def _print_subscription(self, entry: SubscriptionReport) -> None:
        name = f"{entry.name} ({entry.collection})"
        if entry.ok:
            source = _SOURCES[entry.source]
            verdict = f"{self.style.SUCCESS('ok')}, {source}, key {entry.primary_key}"
        else:
            verdict = self.style.ERROR(entry.reason)
        self._row("subscription", f"{name}: {verdict}")
        for note in entry.notes:
            self._row("", self.style.WARNING(note))

    # Permissions

    def _print_permissions(self, report: PermissionsReport) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING(f"{report.alias}  {report.url}"))
        if report.permissions is None:
            self._row("connection", self.style.ERROR(report.reason))
            return
        found = report.permissions
        self._row("user", f"{report.identity}{_may(found)}")
        for need in found.needs:
            self._print_need(need, found)
        for sentence in found.unknown:
            self._row("not known", self.style.WARNING(sentence))
        self.stdout.write("\nThe smallest policy that does, for POST /policies:\n")
        self.stdout.write(as_json(found.policy()))

    def _print_need(self, need: Need, found: Permissions) -> None:
        if need.missing == ["*"]:
            verdict = self.style.ERROR("missing")
        elif need.missing:
            verdict = self.style.ERROR(f"missing: {', '.join(need.missing)}")
        elif found.is_known:
            verdict = self.style.SUCCESS("ok")
        else:
            verdict = "needed"
        fields = "all fields" if "*" in need.fields else ", ".join(need.fields)
        self._row("read", f"{need.collection} ({fields}): {verdict}")
        self._row("", f"for {'; '.join(need.reasons)}")
        if need.note:
            self._row("", self.style.WARNING(need.note))

    def _row(self, name: str, value: str) -> None:
        self.stdout.write(f"  {name:14}{value}")


def _add_rows(report: ConnectionReport, rows: Iterable[DirectusSubscription]) -> None:
    """Add invalid subscriptions to a report, and notes on the declared ones."""
    known = {entry.name: entry for entry in report.subscriptions}
    for row in rows:
        if problem := query_problem(row):
            entry = SubscriptionReport(row.name, row.collection, ok=False, reason=problem)
            report.subscriptions.append(entry)
        elif row.name in known and (note := _note(row)):
            known[row.name].notes.append(note)


def _note(row: DirectusSubscription) -> str:
    """A sentence on the declaration of a row; empty where there is nothing to say."""
    if row.pk is None:
        return _NEW
    if row.orphaned_at is not None:
        return _ORPHANED
    return _ELSEWHERE if row.declared_in and not declared_at(row.name) else ""


def _may(found: Permissions) -> str:
    if found.is_admin:
        return ", who is an administrator and may do everything"
    return "" if found.is_known else "; what it may do cannot be asked of this Directus"


def _with_policy(report: PermissionsReport) -> dict[str, Any]:
    policy = report.permissions.policy() if report.permissions else None
    return {**asdict(report), "policy": policy}
