"""The database of a simulation: real SQLite, whose connections and answers can be lost."""

from __future__ import annotations

import asyncio
import contextvars
import random
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import OperationalError, connections

from tests.simulation.loop import MACHINE, Machine, SimulatedExecutor
from tests.simulation.settings import DATABASE
from tests.simulation.trace import Trace

#: Tables of the receivers; an effect is not unique, so that a second one shows.
_TABLES = """
CREATE TABLE simulation_effect (
    id INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT, receiver TEXT, subscription TEXT,
    collection TEXT, item TEXT, action TEXT, version INTEGER, status TEXT, left_filter INTEGER,
    origin TEXT, activity_id INTEGER, machine TEXT, at REAL
);
CREATE TABLE simulation_tally (
    subscription TEXT, item TEXT, count INTEGER, PRIMARY KEY (subscription, item)
);
"""
_TEMPLATE = DATABASE.with_suffix(".template")
#: Tables that only the active listener may write to.
_GUARDED = ("directus_realtime_inboxevent", "directus_realtime_logposition", "simulation_effect")


def prepare() -> None:
    """Make the template that each simulation begins with, once per process."""
    if _TEMPLATE.exists():
        return
    DATABASE.unlink(missing_ok=True)
    call_command("migrate", verbosity=0)
    connection = connections["default"]
    with connection.cursor() as cursor:
        for statement in filter(str.strip, _TABLES.split(";")):
            cursor.execute(statement)
    connection.close()
    shutil.copyfile(DATABASE, _TEMPLATE)


def clean_up() -> None:
    """Remove the files of this process."""
    connections["default"].close()
    for path in (DATABASE, _TEMPLATE):
        Path(path).unlink(missing_ok=True)


@dataclass
class Fault:
    """Something that happens to the next job of a thread.

    Attributes:
        kind: ``statement``: the connection dies before a statement. ``commit``: it dies before
            a commit. ``answer``: it dies after a commit. ``crash``: the process dies before a
            statement or a commit.
        thread: Name of the thread; empty for any.
        machine: Name of the machine; empty for any.
        after: Statements, or commits, that still work.
    """

    kind: str
    thread: str = ""
    machine: str = ""
    after: int = 0


@dataclass
class _Job:
    """The job that runs now."""

    machine: str = ""
    thread: str = ""
    fault: Fault | None = None
    is_crashed: bool = False
    writes: set[str] = field(default_factory=set)


class SimulatedDatabase:
    """Runs the jobs of database threads, each as a whole, with delays and faults.

    Args:
        chance: Gives the delays.
        trace: Gets a line for each job.

    Attributes:
        faults: Faults of the next jobs.
        unreachable: By machine, until when the database cannot be reached; "" for all.
        slow_until: Until when jobs take long.
        hangs: Threads whose next job takes so many seconds longer.
        on_lease: Called after each job of the thread of the lease.
        on_crash: Called after a job in which the process has died.
        on_write: Called after each job that has written to a table that only the active
            listener may write to, with the machine, the thread and the tables.
    """

    def __init__(self, chance: random.Random, trace: Trace) -> None:
        self.faults: list[Fault] = []
        self.unreachable: dict[str, float] = {}
        self.slow_until = 0.0
        self.hangs: list[tuple[str, float]] = []
        self.jobs = 0
        self.on_lease: Callable[[Machine], None] = lambda machine: None
        self.on_crash: Callable[[Machine], None] = lambda machine: None
        self.on_write: Callable[[Machine, str, set[str]], None] = lambda *found: None
        self._chance = chance
        self._trace = trace
        self._job = _Job()
        self._lost: object = object()
        # Django keeps a connection for each context; all jobs run in this one.
        self._context = contextvars.copy_context()

    def open(self) -> None:
        """Begin with an empty database."""
        connections["default"].close()
        shutil.copyfile(_TEMPLATE, DATABASE)
        self._behind = sqlite3.connect(DATABASE, isolation_level=None)

    def _equip(self) -> None:
        """Put the faults in front of the connection of the jobs."""
        connection = connections["default"]
        connection.execute_wrappers.append(self._watch)
        connection._commit = self._commit  # type: ignore[method-assign]
        connection._rollback = self._rollback  # type: ignore[method-assign]
        connection.is_usable = self._is_usable  # type: ignore[method-assign]

    async def begin(self) -> None:
        """Get ready for jobs, in the loop."""
        self._context.run(self._equip)

    def close(self) -> None:
        """End the simulation of this database."""
        self._behind.close()

    async def end(self) -> None:
        """Close the connection of the jobs, in the loop."""
        self._context.run(connections["default"].close)

    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Ask behind the back of Django, so that no fault is in between."""
        return list(self._behind.execute(sql, tuple(parameters)))

    def run_now(self, job: Callable[[], Any], machine: Machine | None = None) -> Any:
        """Run a job at once."""
        return self._context.run(_on, machine, job)

    def without_faults(self, work: Callable[[], Any]) -> Any:
        """Do something in the middle of a job of nobody."""
        before, self._job = self._job, _Job()
        try:
            return work()
        finally:
            self._job = before

    async def run_job(self, executor: SimulatedExecutor, job: Callable[[], Any]) -> Any:
        """Run a job of a thread: it waits for a while, happens at one instant, and answers."""
        machine, loop = MACHINE.get(), asyncio.get_running_loop()
        await asyncio.sleep(self._delay(executor.name))
        found = self._take_fault(executor.name, machine.name if machine else "")
        self._job = now = _Job(machine.name if machine else "", executor.name, found)
        self.jobs += 1
        result = error = None
        try:
            result = self.run_now(job, machine)
        except BaseException as problem:
            error = problem
        finally:
            self._job = _Job()
        if self._trace.is_detailed or found or error:
            words = f"{found.kind} fault, " if found else ""
            words += f"{type(error).__name__}: {error}" if error else ", ".join(sorted(now.writes))
            self._trace.add(loop.time(), now.machine, f"db {executor.name}: {words or 'read'}")
        if now.is_crashed and machine is not None:
            self.on_crash(machine)
            await asyncio.Event().wait()  # nothing of the process goes on
        if machine is not None and executor.name == "lease":
            self.on_lease(machine)
        if machine is not None and now.writes and error is None:
            self.on_write(machine, executor.name, now.writes)
        await asyncio.sleep(self._chance.expovariate(2000))
        if error is not None:
            raise error
        return result

    def _delay(self, thread: str) -> float:
        delay = self._chance.expovariate(1000)
        if asyncio.get_running_loop().time() < self.slow_until:
            delay += self._chance.expovariate(2)
        for number, (name, seconds) in enumerate(self.hangs):
            if name == thread:
                del self.hangs[number]
                return delay + seconds
        return delay

    def _take_fault(self, thread: str, machine: str) -> Fault | None:
        for number, fault in enumerate(self.faults):
            if fault.thread in {"", thread} and fault.machine in {"", machine}:
                del self.faults[number]
                return fault
        return None

    def _is_unreachable(self) -> bool:
        until = max(self.unreachable.get(self._job.machine, 0), self.unreachable.get("", 0))
        return bool(self._job.machine) and asyncio.get_running_loop().time() < until

    def _watch(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        text = str(sql)
        fault = self._job.fault
        if connections["default"].connection is self._lost:
            raise OperationalError("Simulated: the connection is closed.")
        if self._is_unreachable():
            self._die("the server is not reachable")
        if fault is not None and fault.kind in {"statement", "crash"}:
            self._count_down(fault, "the connection was lost")
        result = execute(sql, params, many, context)
        if not text.startswith(("SELECT", "BEGIN", "SAVEPOINT", "RELEASE", "ROLLBACK")):
            self._job.writes |= {name for name in _GUARDED if f'"{name}"' in text}
            if not context["connection"].in_atomic_block and fault is not None:
                self._after_commit(fault)
        return result

    def _commit(self) -> None:
        connection, fault = connections["default"], self._job.fault
        if connection.connection is self._lost:
            raise OperationalError("Simulated: the connection is closed.")
        if fault is not None and fault.kind in {"commit", "crash"}:
            self._count_down(fault, "the connection was lost before the commit")
        if connection.connection is not None:
            connection.connection.commit()
        if fault is not None:
            self._after_commit(fault)

    def _rollback(self) -> None:
        connection = connections["default"]
        if connection.connection is self._lost:
            raise OperationalError("Simulated: the connection is closed.")
        if connection.connection is not None:
            connection.connection.rollback()

    def _is_usable(self) -> bool:
        return connections["default"].connection is not self._lost

    def _after_commit(self, fault: Fault) -> None:
        if fault.kind == "answer":
            self._count_down(fault, "the connection was lost before the answer of the commit")

    def _count_down(self, fault: Fault, reason: str) -> None:
        if fault.after <= 0:
            self._job.fault = None
            self._job.is_crashed = fault.kind == "crash"
            self._die(reason)
        fault.after -= 1

    def _die(self, reason: str) -> None:
        """Lose the connection; the server rolls its transaction back."""
        connection = connections["default"]
        connection.errors_occurred = True
        raw: sqlite3.Connection | None = connection.connection
        if raw is not None:
            raw.rollback()
        self._lost = raw
        raise OperationalError(f"Simulated: {reason}.")


def _on(machine: Machine | None, job: Callable[[], Any]) -> Any:
    MACHINE.set(machine)
    return job()
