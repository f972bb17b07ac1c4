"""``python manage.py directus_check``."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from directus_realtime.database import check_tables
from directus_realtime.declared import sync_declared
from directus_realtime.listener.checking import ConnectionReport, check_connection
from directus_realtime.listener.wanted import wanted_subscriptions
from directus_realtime.management.arguments import add_connection_argument, chosen_connections

_ACTIVITY = {
    "full": "may read all of it",
    "partial": "may read part of it",
    "none": "may not read it",
}


class Command(BaseCommand):
    """Exit status: 0 where everything works, 1 where anything does not."""

    help = (
        "Connect to Directus, try each subscription, and say what works and what the token "
        "may not do. Nothing in Directus is changed. Exits with 1 if anything is wrong."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_connection_argument(parser, "Check")
        parser.add_argument("--json", action="store_true", help="Print JSON instead of a table.")

    def handle(self, *args: Any, **options: Any) -> None:
        connections = chosen_connections(options["connection"])
        try:
            check_tables()
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from None
        sync_declared()
        reports = []
        for settings in connections:
            wanted = wanted_subscriptions(settings.alias).values()
            reports.append(asyncio.run(check_connection(settings, list(wanted))))
        if options["json"]:
            self.stdout.write(json.dumps([asdict(report) for report in reports], indent=2))
        else:
            for report in reports:
                self._print(report)
        if not all(report.ok for report in reports):
            sys.exit(1)

    def _print(self, report: ConnectionReport) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING(f"{report.alias}  {report.url}"))
        if report.reason:
            self._row("connection", self.style.ERROR(report.reason))
            return
        self._row("connection", self.style.SUCCESS("ok") + f", as {report.identity}")
        if report.server is not None:
            server = report.server
            limit = "none" if server.query_limit < 0 else str(server.query_limit)
            self._row("Directus", server.version or "does not tell its version")
            self._row("WebSocket", f"{server.websocket_path}, {server.auth_mode} authentication")
            self._row("heartbeat", f"{server.heartbeat:g} s" if server.heartbeat else "none")
            self._row("query limit", limit)
        self._row("activity log", _ACTIVITY.get(report.activity, report.activity))
        self._print_subscriptions(report)

    def _print_subscriptions(self, report: ConnectionReport) -> None:
        if not report.subscriptions:
            self._row("subscriptions", "none enabled")
        for entry in report.subscriptions:
            verdict = (
                self.style.SUCCESS("ok")
                if entry.ok
                else self.style.ERROR(f"refused: {entry.reason}")
            )
            self._row("subscription", f"{entry.name} ({entry.collection}): {verdict}")
            for note in entry.notes:
                self._row("", self.style.WARNING(note))

    def _row(self, name: str, value: str) -> None:
        self.stdout.write(f"  {name:14}{value}")
