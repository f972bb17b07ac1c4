"""``python manage.py directus_status``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any, NoReturn

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    no_translations,
)
from django.db import Error as DatabaseError
from django.utils import timezone

from directus_realtime.database import DATABASE_IS_AWAY, check_tables, on_one_line
from directus_realtime.health import gather
from directus_realtime.health_facts import (
    ConnectionHealth,
    GapHealth,
    HealthLevel,
    HealthThresholds,
    HoleHealth,
    InboxHealth,
    listeners_of_this_host,
    parked_changes,
)
from directus_realtime.management.console import (
    add_connection_argument,
    as_json,
    chosen_connections,
    counted,
    valid_seconds,
)
from directus_realtime.models import LogPosition

#: Exit status where the health is unknown.
CANNOT_TELL = 2
#: Options for the thresholds: attribute, parser, metavar and help.
_THRESHOLDS: list[tuple[str, Callable[[str], float], str, str]] = [
    (
        "lag",
        valid_seconds,
        "SECONDS",
        "How long the oldest pending event may wait (default: %(default)g).",
    ),
    ("dead", int, "N", "How many dead letters there may be (default: %(default)s)."),
    (
        "heartbeat_age",
        valid_seconds,
        "SECONDS",
        "How long a listener may say nothing (default: %(default)g).",
    ),
    (
        "catch_up_age",
        valid_seconds,
        "SECONDS",
        "How long ago the activity log may have been read to its end, or the connection made "
        "(default: %(default)g).",
    ),
]


class Command(BaseCommand):
    """Exit status: 0 healthy, 1 not healthy, 2 where the database is unavailable."""

    help = (
        "Show the health of the connections, from the database alone: nothing is connected to. "
        "Exits with 0 where all is healthy, with 1 where a connection is degraded or failed "
        "(with --probe, only where one failed), with 2 where the database is unavailable (with "
        "--this-host, with 0 then) or not migrated."
    )
    # A probe runs often, and does not depend on the checks.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        add_connection_argument(parser, "Look at")
        parser.add_argument("--json", action="store_true", help="Print JSON instead of a table.")
        parser.add_argument(
            "--this-host",
            action="store_true",
            help="Only say whether a listener on this machine is alive, active or standing "
            "by: a liveness probe for its container.",
        )
        parser.add_argument(
            "--probe",
            action="store_true",
            help="Exit with 1 only where a connection failed, not where one is degraded.",
        )
        parser.add_argument(
            "--acknowledge-gap",
            action="store_true",
            help="Acknowledge the last gap of the connections given with --connection: it does "
            "not count as a problem any longer.",
        )
        for name, parse, metavar, text in _THRESHOLDS:
            parser.add_argument(
                f"--max-{name.replace('_', '-')}",
                type=parse,
                default=getattr(HealthThresholds, name),
                metavar=metavar,
                help=text,
            )

    # Programs and other machines read the output, too.
    @no_translations
    def handle(self, *args: Any, **options: Any) -> None:
        limits = HealthThresholds(**{name: options[f"max_{name}"] for name, *_ in _THRESHOLDS})
        try:
            check_tables()
            if options["this_host"]:
                is_healthy = self._show_this_host(limits, is_json=options["json"])
            else:
                is_healthy = self._show(limits, options)
        except (ImproperlyConfigured, DatabaseError) as error:
            if options["this_host"] and isinstance(error, DATABASE_IS_AWAY):
                self._do_not_restart(error)
                return
            _cannot_tell(error)
        except CommandError as error:  # the settings are wrong
            raise CommandError(str(error), returncode=CANNOT_TELL) from None
        if not is_healthy:
            sys.exit(1)

    # All connections

    def _show(self, limits: HealthThresholds, options: dict[str, Any]) -> bool:
        aliases = [each.alias for each in chosen_connections(options["connection"])]
        if options["acknowledge_gap"]:
            if not options["connection"]:
                raise CommandError("Name the connection: --connection ALIAS --acknowledge-gap")
            for alias in aliases:
                self._acknowledge_gap(alias)
        connections = gather(aliases, limits)
        if options["json"]:
            self.stdout.write(as_json([_as_dict(each) for each in connections]))
        else:
            for each in connections:
                self._print(each)
        worst = {HealthLevel.FAILED} if options["probe"] else set(HealthLevel) - {HealthLevel.OK}
        return not worst.intersection(each.level for each in connections)

    def _acknowledge_gap(self, alias: str) -> None:
        position = LogPosition.objects.filter(alias=alias).first()
        if position is not None and position.acknowledge_gap():
            text = self.style.SUCCESS(f"{alias}  The last gap is acknowledged.")
        else:
            text = self.style.WARNING(f"{alias}  There is no gap to acknowledge.")
        self.stderr.write(text)

    def _print(self, health: ConnectionHealth) -> None:
        style = {
            HealthLevel.OK: self.style.SUCCESS,
            HealthLevel.DEGRADED: self.style.WARNING,
            HealthLevel.FAILED: self.style.ERROR,
        }[health.level]
        verdict = style(str(health.level.label))
        self.stdout.write(f"{self.style.MIGRATE_HEADING(health.alias)}  {verdict}")
        self._row("state", f"{health.state} since {time_text(health.since)}")
        self._row("reason", health.reason)
        age = health.heartbeat_age
        self._row("heartbeat", "never" if age is None else f"{age:.1f} s ago")
        token = f", fencing token {health.fencing_token}" if health.active else ""
        self._row("active", f"{health.active or 'nobody'}{token}")
        self._row("standing by", ", ".join(health.standing_by))
        self._row("doorbells", _doorbells_text(health))
        self._row("inbox", _inbox_text(health.inbox))
        self._print_log(health)
        self._row("last event", time_text(health.last_event_at))
        for problem in health.problems:
            self._row("problem", style(problem))
        for note in health.notes:
            self._row("note", note)

    def _print_log(self, health: ConnectionHealth) -> None:
        if health.catch_up is not None:
            self._row("catch-up", _catch_up_text(health.catch_up))
            if health.catch_up.problem:
                self._row("", self.style.WARNING(health.catch_up.problem))
        self._row("holes", _holes_text(health.holes))
        if health.parked or health.unexplained:
            self._row("parked", f"{health.parked} parked, {health.unexplained} unexplained")
        if health.dropped:
            self._row("dropped", f"{health.dropped} ids")
        if health.gap is not None:
            self._row("last gap", _gap_text(health.gap))

    # This machine

    def _show_this_host(self, limits: HealthThresholds, *, is_json: bool) -> bool:
        rows = listeners_of_this_host(limits)
        if is_json:
            found = [{"host": r.host, "pid": r.pid, "role": r.role} for r in rows]
            self.stdout.write(as_json(found))
            return bool(rows)
        for row in rows:
            self.stdout.write(f"{row}  {row.role}")
        if not rows:
            self.stdout.write(self.style.ERROR("No listener on this machine is alive."))
        return bool(rows)

    def _do_not_restart(self, error: Exception) -> None:
        """Report success: a listener waits for its database, a restart would not help."""
        text = f"The database cannot tell, and a restart would not help: {on_one_line(error)}"
        self.stderr.write(self.style.WARNING(text))

    def _row(self, name: str, value: str) -> None:
        if value:
            self.stdout.write(f"  {name:14}{value}")


def _cannot_tell(error: Exception) -> NoReturn:
    text = f"The database cannot tell: {on_one_line(error)}"
    raise CommandError(text, returncode=CANNOT_TELL) from None


def time_text(moment: datetime | None) -> str:
    """Return a time in the current time zone, to the second."""
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S}" if moment else "never"


def _as_dict(health: ConnectionHealth) -> dict[str, Any]:
    found = asdict(health)
    if position := health.catch_up:
        names = "problem", "rows_done", "rows_total", "gap_since", "gap_until", "gap_recovered"
        found["catch_up"] = {name: getattr(position, name) for name in names}
        found["catch_up"]["caught_up_at"] = position.read_at
    return {**found, "ok": not health.problems, "parked_changes": parked_changes(health.alias)}


def _doorbells_text(health: ConnectionHealth) -> str:
    text = ", ".join(health.doorbells)
    if health.door is None:
        return text
    rung = f"door last rung {time_text(health.door.rung_at)}"
    return f"{text or 'none'}; {rung}"


def _inbox_text(inbox: InboxHealth) -> str:
    counts = ", ".join(f"{count} {state}" for state, count in inbox.counts.items())
    return f"lag {inbox.lag:.1f} s; {counts}"


def _catch_up_text(catch_up: LogPosition) -> str:
    read = f"activity log read to its end {time_text(catch_up.read_at)}"
    if not catch_up.rows_total:
        return read
    return f"{read}, now {catch_up.rows_done} of {catch_up.rows_total} rows"


def _holes_text(holes: HoleHealth) -> str:
    if not holes.ids:
        return ""
    ids = counted(holes.ids, "id", "ids")
    return f"{ids} in {counted(holes.ranges, 'range', 'ranges')}, since {time_text(holes.since)}"


def _gap_text(gap: GapHealth) -> str:
    verdict = {True: "recovered", False: "not recovered", None: "not recovered yet"}[gap.recovered]
    if gap.acknowledged_at is not None:
        verdict += f", acknowledged {time_text(gap.acknowledged_at)}"
    of = f" ({', '.join(gap.collections)})" if gap.collections else ""
    until = time_text(gap.until) if gap.until else "now"
    return f"{time_text(gap.since)} to {until}, {verdict}{of}"
