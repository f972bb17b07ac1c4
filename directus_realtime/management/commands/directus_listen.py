"""``python manage.py directus_listen``."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import traceback
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from directus_realtime.exceptions import ConnectionImpossible
from directus_realtime.listener.active_listener import StopTimedOut, stop_on_signals
from directus_realtime.listener.listener import Listener
from directus_realtime.listener.metrics.metrics_server import Sampler, serving_metrics
from directus_realtime.management.console import (
    add_connection_argument,
    chosen_connections,
    print_logs,
    valid_address,
)

#: Number of new objects that starts a garbage collection; Python's default is 700.
_GC_THRESHOLD = 10_000


class Command(BaseCommand):
    """Listen to Directus until SIGTERM or SIGINT.

    Exit status: 0 after a requested stop, 1 where no connection can succeed.
    """

    help = (
        "Listen to Directus and turn every item change into Django signals and Channels "
        "group messages. Of several listeners, one is active and the others stand by. "
        "Stop it with SIGTERM or Ctrl-C."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_connection_argument(parser, "Listen to")
        parser.add_argument(
            "--standby-only",
            action="store_true",
            help="Never be the first: wait for another listener, and take over from it.",
        )

        parser.add_argument(
            "--metrics",
            type=valid_address,
            metavar="HOST:PORT",
            help="Serve metrics for Prometheus at http://HOST:PORT/metrics, such as "
            "127.0.0.1:9123. Needs the extra “metrics”.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        connections = chosen_connections(options["connection"])
        address = options["metrics"]
        metrics: AbstractContextManager[Sampler | None]
        metrics = serving_metrics(*address) if address else nullcontext()
        with print_logs(self.stdout, self.style, options["verbosity"]):
            try:
                with metrics as sampler:
                    listener = Listener(
                        connections, standby_only=options["standby_only"], sampler=sampler
                    )
                    tune_gc()
                    asyncio.run(_listen(listener))
            except (ConnectionImpossible, ImproperlyConfigured) as error:
                raise CommandError(str(error)) from None
            except StopTimedOut as error:
                self._end_at_once(error.ended_by)
            self.stdout.write("Stopped.")

    def _end_at_once(self, ended_by: BaseException | None) -> NoReturn:
        """End the process despite tasks that hang, with the exit status of a normal end."""
        if isinstance(ended_by, ConnectionImpossible | ImproperlyConfigured):
            self.stderr.write(f"CommandError: {ended_by}")
        elif ended_by is not None:
            traceback.print_exception(ended_by)
        self.stdout.flush()
        sys.stderr.flush()
        os._exit(0 if ended_by is None else 1)


async def _listen(listener: Listener) -> None:
    stopping = asyncio.Event()
    with stop_on_signals(stopping):
        await listener.run(stopping)


def tune_gc() -> None:
    """Freeze the objects that exist, and collect new ones less often.

    The objects of Django and the project live until the end, and events and rows are rarely part
    of a cycle. In a burst, collections took an eighth of the CPU time. The setting holds for the
    whole process, so only a command may call it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
