"""``python manage.py directus_prune``."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from directus_realtime.listener.retention import Retention, prune_span
from directus_realtime.management.console import (
    add_connection_argument,
    chosen_connections,
    counted,
    require_tables,
)
from directus_realtime.models import DirectusSubscription


class Command(BaseCommand):
    """Delete old events, and orphaned subscriptions; unprocessed events are never deleted."""

    help = (
        "Delete events of the inbox that are through (done, or merged into a later one) and "
        "older than some days, and dead letters where --dead-days is given. The active "
        "listener does the former by itself, once a day."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_connection_argument(parser, "Prune")
        parser.add_argument(
            "--days",
            type=valid_days,
            metavar="N",
            help="Delete what has been through for so many days (default: RETENTION_DAYS of "
            "the connection; 0 keeps it).",
        )
        parser.add_argument(
            "--dead-days",
            type=valid_days,
            default=0,
            metavar="N",
            help="Delete dead letters, too, that came in so many days ago (default: keep them).",
        )
        parser.add_argument(
            "--orphaned",
            action="store_true",
            help="Delete the subscriptions that are no longer declared, too, with their places in "
            "the activity log.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Only say how many there are.")

    def handle(self, *args: Any, **options: Any) -> None:
        connections = chosen_connections(options["connection"])
        require_tables()
        verb = "would be deleted" if options["dry_run"] else "deleted"
        for settings in connections:
            days = settings.retention_days if options["days"] is None else options["days"]
            retention = Retention.of_days(
                settings.alias, days, options["dead_days"], now=timezone.now()
            )
            count = self._prune(retention, dry_run=options["dry_run"])
            age = f"older than {counted(days, 'day', 'days')}" if days else "kept for ever"
            dead = ""
            if options["dead_days"]:
                dead = f", dead letters older than {counted(options['dead_days'], 'day', 'days')}"
            self.stdout.write(f"{settings.alias}: {count} {verb} ({age}{dead})")
            if options["orphaned"]:
                self._prune_orphaned(settings.alias, verb, dry_run=options["dry_run"])

    def _prune_orphaned(self, alias: str, verb: str, *, dry_run: bool) -> None:
        rows = DirectusSubscription.objects.filter(connection=alias).exclude(orphaned_at=None)
        for row in rows:
            self.stdout.write(f"{alias}: the subscription {row.name} {verb} (no longer declared)")
        if not dry_run:
            rows.delete()

    def _prune(self, retention: Retention, *, dry_run: bool) -> int:
        total = 0
        position: int | None = 0
        while position is not None:
            count, position = prune_span(retention, position, dry_run=dry_run)
            total += count
            if position is not None and self.stdout.isatty():
                self.stdout.write(f"\r{retention.alias}: {total} …", ending="")
                self.stdout.flush()
        if total and self.stdout.isatty():
            self.stdout.write("\r", ending="")
        return total


def valid_days(text: str) -> float:
    """Parse a number of days."""
    try:
        days = float(text)
    except ValueError:
        days = -1
    if not 0 <= days < 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days.")
    return days
