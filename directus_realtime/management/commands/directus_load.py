"""``python manage.py directus_load``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet

from directus_realtime.declaration_sync import sync_declared
from directus_realtime.health import gather
from directus_realtime.health_facts import HealthThresholds
from directus_realtime.loads import LoadProgress, load_progress, request_load
from directus_realtime.management.console import (
    add_connection_argument,
    chosen_connections,
    counted,
    require_tables,
    valid_seconds,
)
from directus_realtime.models import DirectusSubscription

#: Seconds between two looks at the progress.
_POLL_INTERVAL = 0.2


class Command(BaseCommand):
    """Load all items of subscriptions again."""

    help = (
        "Deliver all items of subscriptions again, with the origin “snapshot”, and deletes of "
        "known items that are gone. The active listener loads them; this command shows its "
        "progress until all are loaded. Ending it does not end the load."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "subscription",
            nargs="*",
            help="Name of a subscription (default: all enabled ones).",
        )
        add_connection_argument(parser, "Load subscriptions of")
        parser.add_argument(
            "--no-wait", action="store_true", help="Only request the load, and show no progress."
        )
        parser.add_argument(
            "--timeout",
            type=valid_seconds,
            metavar="SECONDS",
            help="Exit with 1 where the load is not complete by then (default: wait for ever).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        require_tables()
        sync_declared()
        aliases = [each.alias for each in chosen_connections(options["connection"])]
        rows = _chosen(aliases, options["subscription"])
        names = sorted(rows.values_list("name", flat=True))
        request_load(rows)
        if options["no_wait"]:
            count = counted(len(names), "subscription", "subscriptions")
            self.stdout.write(f"The load of {count} is requested: {', '.join(names)}")
            return
        self._report(self._wait(names, options["timeout"]))
        self._remind(aliases)

    def _wait(self, names: Sequence[str], timeout: float | None) -> list[LoadProgress]:
        """Show the progress until all are loaded.

        Raises:
            CommandError: They are not, after the time-out.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        problems: set[str] = set()
        shown = ""
        while True:
            progress = load_progress(names)
            open_ones = [each for each in progress if not each.is_finished]
            shown = self._show(progress, shown)
            self._warn(open_ones, problems)
            if not open_ones:
                return progress
            if deadline is not None and time.monotonic() >= deadline:
                raise CommandError(
                    f"Not loaded within {timeout:g} s: "
                    f"{', '.join(each.subscription for each in open_ones)}. The listener goes on; "
                    "directus_status says what holds it up."
                )
            time.sleep(_POLL_INTERVAL)

    def _show(self, progress: Iterable[LoadProgress], shown: str) -> str:
        if not self.stdout.isatty():
            return ""
        parts = [f"{each.subscription} {each.done} of {each.total}" for each in progress]
        if (line := ", ".join(parts)) != shown:
            self.stdout.write(f"\r\033[K{line}", ending="")
            self.stdout.flush()
        return line

    def _warn(self, progress: Iterable[LoadProgress], known: set[str]) -> None:
        for each in progress:
            text = f"{each.subscription}: {each.problem}"
            if each.problem and text not in known:
                known.add(text)
                self.stderr.write(self.style.WARNING(text))

    def _report(self, progress: Iterable[LoadProgress]) -> None:
        if self.stdout.isatty():
            self.stdout.write("\r\033[K", ending="")
        for each in progress:
            items = counted(each.total, "item", "items")
            self.stdout.write(f"{each.subscription}: {items} loaded, {each.deleted} deleted")

    def _remind(self, aliases: Sequence[str]) -> None:
        """Name the command for gaps that the load may have repaired."""
        for health in gather(aliases, HealthThresholds()):
            if health.gap is not None and health.gap.is_unresolved:
                self.stdout.write(
                    f"{health.alias}: a gap is not acknowledged yet. If these were all "
                    f"subscriptions of {', '.join(health.gap.collections)}: directus_status "
                    f"--connection {health.alias} --acknowledge-gap"
                )


def _chosen(aliases: Sequence[str], names: Sequence[str]) -> QuerySet[DirectusSubscription]:
    """Return the chosen subscriptions, or all enabled ones.

    Raises:
        CommandError: One is not an enabled subscription, or there is none.
    """
    rows = DirectusSubscription.objects.filter(
        connection__in=aliases, enabled=True, orphaned_at=None
    )
    known = set(rows.values_list("name", flat=True))
    if missing := sorted(set(names) - known):
        raise CommandError(
            f"{missing[0]!r} is not an enabled subscription of {', '.join(aliases)}. Enabled: "
            f"{', '.join(sorted(known)) or 'none'}."
        )
    if not known:
        raise CommandError(f"No subscription of {', '.join(aliases)} is enabled.")
    return rows.filter(name__in=names) if names else rows
