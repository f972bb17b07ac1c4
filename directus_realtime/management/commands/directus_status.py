"""``python manage.py directus_status``."""

from __future__ import annotations

import json
import sys
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
from django.core.serializers.json import DjangoJSONEncoder
from django.db import Error as DatabaseError
from django.utils import timezone

from directus_realtime.database import DATABASE_IS_AWAY, check_tables, on_one_line
from directus_realtime.health import (
    CatchUpHealth,
    ConnectionHealth,
    InboxHealth,
    Limits,
    gather,
    listeners_of_this_host,
)
from directus_realtime.management.arguments import (
    add_connection_argument,
    chosen_connections,
    valid_seconds,
)

#: Exit status where nothing can be told.
CANNOT_TELL = 2


class Command(BaseCommand):
    """Exit status: 0 healthy, 1 not healthy, 2 where the database cannot tell."""

    help = (
        "Say how the connections stand, from the database alone: nothing is connected to. "
        "Exits with 0 where all is healthy, with 1 where not, with 2 where the database is "
        "away (with --this-host, with 0 then) or not migrated."
    )
    # A probe runs often, and looks at nothing that the checks are about.
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
            "--max-lag",
            type=valid_seconds,
            default=Limits.lag,
            metavar="SECONDS",
            help="How long the oldest pending event may wait (default: %(default)g).",
        )
        parser.add_argument(
            "--max-dead",
            type=int,
            default=Limits.dead,
            metavar="N",
            help="How many dead letters there may be (default: %(default)s).",
        )
        parser.add_argument(
            "--max-heartbeat-age",
            type=valid_seconds,
            default=Limits.heartbeat_age,
            metavar="SECONDS",
            help="How long a listener may say nothing (default: %(default)g).",
        )

        parser.add_argument(
            "--max-catch-up-age",
            type=valid_seconds,
            default=Limits.catch_up_age,
            metavar="SECONDS",
            help="How long ago the activity log may have been worked through, or the connection "
            "made (default: %(default)g).",
        )

    # What is printed is for programs and other machines, too.
    @no_translations
    def handle(self, *args: Any, **options: Any) -> None:
        limits = Limits(
            lag=options["max_lag"],
            dead=options["max_dead"],
            heartbeat_age=options["max_heartbeat_age"],
            catch_up_age=options["max_catch_up_age"],
        )
        try:
            check_tables()
            if options["this_host"]:
                is_healthy = self._tell_of_this_host(limits, as_json=options["json"])
            else:
                aliases = [each.alias for each in chosen_connections(options["connection"])]
                is_healthy = self._tell(gather(aliases, limits), as_json=options["json"])
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

    def _tell(self, connections: list[ConnectionHealth], *, as_json: bool) -> bool:
        if as_json:
            found = [{**asdict(each), "ok": not each.problems} for each in connections]
            self.stdout.write(json.dumps(found, indent=2, cls=DjangoJSONEncoder))
        else:
            for each in connections:
                self._print(each)
        return not any(each.problems for each in connections)

    def _print(self, health: ConnectionHealth) -> None:
        style = self.style.ERROR if health.problems else self.style.SUCCESS
        verdict = style("not healthy" if health.problems else "healthy")
        self.stdout.write(f"{self.style.MIGRATE_HEADING(health.alias)}  {verdict}")
        self._row("state", f"{health.state} since {shown_time(health.since)}")
        self._row("reason", health.reason)
        age = health.heartbeat_age
        self._row("heartbeat", "never" if age is None else f"{age:.1f} s ago")
        number = f", fencing number {health.fencing_number}" if health.active else ""
        self._row("active", f"{health.active or 'nobody'}{number}")
        self._row("standing by", ", ".join(health.standing_by))
        self._row("inbox", _shown_inbox(health.inbox))
        if health.catch_up is not None:
            self._print_catch_up(health.catch_up)
        self._row("last event", shown_time(health.last_event_at))
        for problem in health.problems:
            self._row("problem", self.style.ERROR(problem))
        if health.inbox.dead and not health.problems:
            text = f"Dead letters: {health.inbox.dead}. See the inbox in the admin."
            self._row("note", self.style.WARNING(text))

    def _print_catch_up(self, catch_up: CatchUpHealth) -> None:
        rows = f"{catch_up.rows_done} of {catch_up.rows_total} rows read"
        self._row("catch-up", f"caught up {shown_time(catch_up.caught_up_at)}, {rows}")
        if catch_up.problem:
            self._row("", self.style.WARNING(catch_up.problem))
        if catch_up.gap_since:
            verdict = {True: "recovered", False: "not recovered", None: "not recovered yet"}
            span = f"{shown_time(catch_up.gap_since)} to {shown_time(catch_up.gap_until)}"
            self._row("last gap", f"{span}, {verdict[catch_up.gap_recovered]}")

    # This machine

    def _tell_of_this_host(self, limits: Limits, *, as_json: bool) -> bool:
        rows = listeners_of_this_host(limits)
        if as_json:
            found = [{"host": r.host, "pid": r.pid, "role": r.role} for r in rows]
            self.stdout.write(json.dumps(found, indent=2))
            return bool(rows)
        for row in rows:
            self.stdout.write(f"{row}  {row.role}")
        if not rows:
            self.stdout.write(self.style.ERROR("No listener on this machine is alive."))
        return bool(rows)

    def _do_not_restart(self, error: Exception) -> None:
        """A listener waits for its database, so a probe must not have it started anew."""
        text = f"The database cannot tell, and a restart would not help: {on_one_line(error)}"
        self.stderr.write(self.style.WARNING(text))

    def _row(self, name: str, value: str) -> None:
        if value:
            self.stdout.write(f"  {name:14}{value}")


def _cannot_tell(error: Exception) -> NoReturn:
    text = f"The database cannot tell: {on_one_line(error)}"
    raise CommandError(text, returncode=CANNOT_TELL) from None


def shown_time(moment: datetime | None) -> str:
    """A time in the current time zone, to the second."""
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S}" if moment else "never"


def _shown_inbox(inbox: InboxHealth) -> str:
    counts = ", ".join(f"{count} {state}" for state, count in inbox.counts.items())
    return f"lag {inbox.lag:.1f} s; {counts}"
