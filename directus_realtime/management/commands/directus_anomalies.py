"""``python manage.py directus_anomalies``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandParser, no_translations

from directus_realtime.anomalies import LISTED, find_anomalies
from directus_realtime.management.console import (
    add_connection_argument,
    as_json,
    chosen_connections,
    require_tables,
)

_KINDS = ("unlogged", "parked", "unexplained", "dropped")


class Command(BaseCommand):
    """List the changes and ids of the activity log that need an explanation."""

    help = (
        "List changes without a row in the activity log (unlogged), logged changes whose item was "
        "not found (parked, and unexplained once no delete appeared), and ids of the log that "
        "never became visible (dropped). It reads the database alone."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_connection_argument(parser, "List those of")
        parser.add_argument(
            "--kind",
            action="append",
            choices=_KINDS,
            help="Only this kind; may be given more than once (default: all).",
        )
        parser.add_argument(
            "--limit",
            type=int,
            default=LISTED,
            metavar="N",
            help="Most entries of each kind (default: %(default)s).",
        )
        parser.add_argument("--json", action="store_true", help="Print JSON instead of lines.")

    @no_translations
    def handle(self, *args: Any, **options: Any) -> None:
        require_tables()
        kinds = options["kind"] or _KINDS
        limit = max(options["limit"], 0)
        found = {}
        for settings in chosen_connections(options["connection"]):
            anomalies = find_anomalies(settings.alias, limit)
            found[settings.alias] = {kind: anomalies[kind] for kind in _KINDS if kind in kinds}
        if options["json"]:
            self.stdout.write(as_json(found))
            return
        for alias, anomalies in found.items():
            self._print(alias, anomalies)

    def _print(self, alias: str, anomalies: Mapping[str, list[dict[str, Any]]]) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING(alias))
        for kind, entries in anomalies.items():
            self.stdout.write(f"  {kind:13}{len(entries) or 'none'}")
            for each in entries:
                self.stdout.write(f"    {_line(each)}")


def _line(entry: Mapping[str, Any]) -> str:
    if "first" in entry:
        return f"{entry['dropped_at']:%Y-%m-%d %H:%M:%S}  ids {entry['first']} to {entry['last']}"
    moment = entry.get("received_at") or entry["changed_at"]
    row = f"  row {entry['activity_id']}" if "activity_id" in entry else ""
    text = f"{entry['action']} {entry['collection']} {entry['key']} ({entry['subscription']})"
    return f"{moment:%Y-%m-%d %H:%M:%S}  {text}{row}"
