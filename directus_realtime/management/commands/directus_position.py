"""``python manage.py directus_position``."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from directus_realtime.exceptions import DirectusRealtimeError
from directus_realtime.listener.desired_subscriptions import desired_subscriptions
from directus_realtime.listener.follower import position_store
from directus_realtime.listener.position_change import (
    PositionOutOfRange,
    PositionPlan,
    plan_position,
    set_position,
)
from directus_realtime.management.console import chosen_connections, counted, require_tables
from directus_realtime.settings import DEFAULT_ALIAS, ConnectionSettings

_NOW = "now"


class Command(BaseCommand):
    """Show the position in the activity log, or set it."""

    help = (
        "Show up to which id the activity log of Directus was read, or set it with --set. It "
        "shows first how many changes are skipped or read again, and asks for a confirmation. "
        "Skipped changes become a gap. An active listener goes on from there at once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--connection",
            default=DEFAULT_ALIAS,
            metavar="ALIAS",
            help="Directus server (default: %(default)s).",
        )
        parser.add_argument(
            "--set",
            type=valid_position,
            metavar="ID",
            dest="target",
            help="Id of the last row of the activity log that counts as read, or “now” for its "
            "end.",
        )
        parser.add_argument("--yes", action="store_true", help="Do not ask for a confirmation.")

    def handle(self, *args: Any, **options: Any) -> None:
        require_tables()
        (settings,) = chosen_connections([options["connection"]])
        if options["target"] is None:
            self._show(settings.alias)
            return
        plan = self._plan(settings, options["target"])
        self._explain(plan)
        if not options["yes"]:
            self._confirm()
        set_position(plan)
        self.stdout.write(self.style.SUCCESS(f"The position is {plan.position.top}."))
        if plan.skipped:
            self.stdout.write(
                "The skipped changes are a gap now: load the items again with directus_load, then "
                f"acknowledge it: directus_status --connection {plan.alias} --acknowledge-gap"
            )

    def _show(self, alias: str) -> None:
        row = position_store.read(alias)
        if row.top is None:
            self.stdout.write(f"{alias}  The activity log was never read.")
            return
        holes = sum(hole.size for hole in position_store.position_of(row).holes)
        ids = counted(holes, "id", "ids")
        self.stdout.write(f"{alias}  position {row.top}, {ids} in holes, {row.dropped} dropped")

    def _plan(self, settings: ConnectionSettings, target: int | str) -> PositionPlan:
        wanted = desired_subscriptions(settings.alias).values()
        collections = sorted({each.query.collection for each in wanted})
        number = None if target == _NOW else int(target)
        stored = position_store.read(settings.alias)
        try:
            return asyncio.run(plan_position(settings, stored, collections, number))
        except (DirectusRealtimeError, PositionOutOfRange) as error:
            raise CommandError(str(error)) from None

    def _explain(self, plan: PositionPlan) -> None:
        before = "nowhere" if plan.before is None else plan.before
        self.stdout.write(f"{plan.alias}  position {before}, newest id of the log {plan.newest}")
        self.stdout.write(f"  new position  {plan.position.top}")
        self.stdout.write(f"  skipped       {_counts(plan.skipped)}")
        self.stdout.write(f"  read again    {_counts(plan.repeated)}")

    def _confirm(self) -> None:
        """Ask for a confirmation.

        Raises:
            CommandError: It is not given.
        """
        if not sys.stdin.isatty():
            raise CommandError("Nothing was changed. Add --yes to set the position.")
        if input("Set this position? [y/N] ").strip().lower() not in {"y", "yes"}:
            raise CommandError("Nothing was changed.")


def _counts(changes: Mapping[str, int]) -> str:
    if not changes:
        return "no changes of followed collections"
    parts = [f"{counted(count, 'change', 'changes')} of {name}" for name, count in changes.items()]
    return ", ".join(parts)


def valid_position(text: str) -> int | str:
    """Parse an id, or ``now``."""
    if text == _NOW:
        return text
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise argparse.ArgumentTypeError(f"{text!r} is neither an id of the log nor “now”.")
    return int(text)
