"""``python manage.py directus_replay``."""

from __future__ import annotations

import argparse
import asyncio
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from directus_realtime.exceptions import DirectusRealtimeError
from directus_realtime.listener.desired_subscriptions import (
    DesiredSubscription,
    valid_subscriptions,
)
from directus_realtime.listener.replay import Replay, Replayed, Selection
from directus_realtime.management.console import chosen_connections, counted, require_tables
from directus_realtime.settings import DEFAULT_ALIAS, ConnectionSettings

#: Characters of the progress bar.
_BAR = 30


class Command(BaseCommand):
    """Replay changes from the activity log."""

    help = (
        "Read Directus's activity log again and deliver its changes once more, with the origin "
        "“replay” and the items as they are now. The active listener delivers them."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--collection", required=True, help="Such as articles.")
        parser.add_argument(
            "--since",
            required=True,
            type=valid_time,
            metavar="TIME",
            help="Changes from this time on: 2026-11-20, or 2026-11-20T08:00 in the project's "
            "time zone, or with one of its own such as +02:00.",
        )
        parser.add_argument(
            "--until", type=valid_time, metavar="TIME", help="Up to this time (default: now)."
        )
        parser.add_argument("--key", help="Only the item with this primary key.")
        parser.add_argument(
            "--subscription",
            action="append",
            metavar="NAME",
            help="For this subscription only; may be given more than once (default: all enabled "
            "ones of the collection).",
        )
        parser.add_argument(
            "--connection",
            default=DEFAULT_ALIAS,
            metavar="ALIAS",
            help="Directus server (default: %(default)s).",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Only say how many changes there are."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        (settings,) = chosen_connections([options["connection"]])
        selection = Selection(
            options["collection"], options["since"], options["until"], options["key"]
        )
        if selection.until is not None and selection.until < selection.since:
            raise CommandError("--until is before --since.")
        wanted = self._wanted(settings.alias, selection.collection, options["subscription"])
        replayed = self._replay(settings, wanted, selection, dry_run=options["dry_run"])
        self._report(replayed, selection, dry_run=options["dry_run"])

    def _wanted(
        self, alias: str, collection: str, names: list[str] | None
    ) -> list[DesiredSubscription]:
        require_tables()
        found = [
            each
            for each in valid_subscriptions(alias)
            if each.query.collection == collection and (names is None or each.name in names)
        ]
        if missing := set(names or ()) - {each.name for each in found}:
            raise CommandError(
                f"{min(missing)!r} is not an enabled subscription of {collection} on {alias!r}."
            )
        if not found:
            raise CommandError(
                f"No enabled subscription of {alias!r} is of the collection {collection!r}."
            )
        return found

    def _replay(
        self,
        settings: ConnectionSettings,
        wanted: list[DesiredSubscription],
        selection: Selection,
        *,
        dry_run: bool,
    ) -> Replayed:
        replay = Replay(
            settings, wanted, selection, dry_run=dry_run, on_progress=self._show_progress
        )
        try:
            return asyncio.run(replay.run())
        except DirectusRealtimeError as error:
            raise CommandError(str(error)) from None
        finally:
            if self.stdout.isatty():
                self.stdout.write("\r\033[K", ending="")

    def _show_progress(self, replayed: Replayed) -> None:
        if self.stdout.isatty():
            share = replayed.done / max(replayed.total, replayed.done, 1)
            bar = "#" * round(share * _BAR)
            events = sum(replayed.events.values())
            line = f"[{bar:<{_BAR}}] {replayed.done} of {replayed.total} rows, "
            line += counted(events, "event", "events")
            self.stdout.write(f"\r{line}", ending="")
            self.stdout.flush()

    def _report(self, replayed: Replayed, selection: Selection, *, dry_run: bool) -> None:
        since = timezone.localtime(selection.since)
        changes = counted(replayed.changes, "change", "changes")
        self.stdout.write(f"{changes} of {selection.collection} since {since:%Y-%m-%d %H:%M:%S}")
        for name, count in sorted(replayed.events.items()):
            put = f"{counted(count, 'event', 'events')} put into the inbox"
            put = "would be replayed" if dry_run else put
            self.stdout.write(f"  {name}: {put}")


def valid_time(text: str) -> datetime:
    """Parse a time, by default in the project's time zone."""
    try:
        moment = parse_datetime(text)
        if moment is None and (day := parse_date(text)):
            moment = datetime(day.year, day.month, day.day)
    except ValueError:
        moment = None
    # In another time zone, a time of the first or last year may be out of range.
    if moment is None or not 1 < moment.year < 9999:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2026-11-20T08:00.")
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
