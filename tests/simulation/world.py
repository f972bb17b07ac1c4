"""A simulated world: Directus, a database, and listeners on machines of their own."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import connections
from django.db.models import Value
from django.db.models.functions import Concat

from directus_realtime.dead_letters import retry_now
from directus_realtime.exceptions import ConnectionImpossible, DirectusRealtimeError
from directus_realtime.health import gather
from directus_realtime.health_facts import HealthThresholds
from directus_realtime.listener.active_listener import StopTimedOut
from directus_realtime.listener.delivery import crash_marker
from directus_realtime.listener.desired_subscriptions import desired_subscriptions
from directus_realtime.listener.listener import Listener
from directus_realtime.listener.replay import Replay, Selection
from directus_realtime.models import LOAD_AGAIN, DirectusSubscription, InboxEvent
from directus_realtime.settings import ConnectionSettings
from tests.simulation import database, patches, receivers
from tests.simulation.clock import SimulatedClock
from tests.simulation.database import Fault, SimulatedDatabase
from tests.simulation.directus import ACTIVITY, COLLECTIONS, RIGHTS, TOKEN, SimulatedDirectus
from tests.simulation.loop import Machine, SimulatedLoop, Stuck, on_machine
from tests.simulation.oracle import RENAMED, SUBSCRIPTIONS, Oracle, Violation
from tests.simulation.plan import Plan, Step, Values
from tests.simulation.settings import URL
from tests.simulation.sockets import RingWeather
from tests.simulation.trace import Trace
from tests.simulation.truth import Truth

#: Seconds after the last step within which everything must be delivered.
_PATIENCE = 700.0
#: Seconds between two looks at whether it is.
_LOOK = 5.0


@dataclass
class Outcome:
    """What came of a simulation.

    Attributes:
        plan: What was done.
        violations: Broken promises; empty where all were kept.
        trace: What happened.
        seconds: True seconds that passed in it.
        cpu: Seconds of CPU that it took.
        changes: Changes of items that were begun.
        checks: How often each line of the oracle was asked, as far as that is counted.
    """

    plan: Plan
    violations: list[Violation]
    trace: Trace
    seconds: float
    cpu: float
    changes: int
    effects: int
    checks: dict[str, int] = field(default_factory=dict)

    @property
    def lines(self) -> set[str]:
        """Names of the broken lines of the oracle."""
        return {violation.line for violation in self.violations}


@dataclass
class _Process:
    """A listener process on a machine.

    Attributes:
        machine: The machine, as long as this process lives.
        pid: Its process id.
        stopping: Asks it to stop.
        task: Runs it.
    """

    machine: Machine
    pid: int
    stopping: asyncio.Event
    task: asyncio.Task[None]


class _Host:
    """A host, on which one listener runs after another.

    Args:
        number: Number of the host's listener.
        ahead: Seconds that its clock is ahead.
        rate: Seconds that its clock counts in a true second.
    """

    def __init__(self, number: int, ahead: float, rate: float) -> None:
        self.number = number
        self.ahead = ahead
        self.rate = rate
        self.process: _Process | None = None
        self.wanted = True
        self.starts = 0


class World:
    """Runs one plan.

    Args:
        plan: What happens.
        is_detailed: Keep a line for each request and each job of the database.
    """

    def __init__(self, plan: Plan, *, is_detailed: bool = False) -> None:
        self.plan = plan
        self.trace = Trace(is_detailed=is_detailed)
        self._directus = SimulatedDirectus(
            self._chance("directus"),
            self.trace,
            has_cache=plan.settings["has_cache"],
            has_socket=plan.settings["has_socket"],
        )
        self._directus.ahead = plan.settings["directus_ahead"]
        self.truth = Truth(self._directus)
        self.book = receivers.begin()
        aheads = plan.settings["aheads"]
        self._database = SimulatedDatabase(self._chance("database"), self.trace)
        self.oracle = Oracle(self.truth, self.book, self._database.ask, max(0.0, *aheads))
        self._database.on_write = self.oracle.after_write
        self._database.on_crash = self._crashed
        self._database.on_lease = self.oracle.after_lease
        self._hosts = [
            _Host(number, aheads[number], plan.settings["rates"][number])
            for number in range(plan.settings["listeners"])
        ]
        self._pids = itertools.count(1000)
        self._processes: list[_Process] = []
        self._chores: set[asyncio.Task[None]] = set()
        self._loop = SimulatedLoop()

    def _chance(self, purpose: str) -> random.Random:
        return random.Random(f"{self.plan.seed}/{purpose}")

    # Who is who

    def pid_of(self, machine: Machine) -> int:
        """Return the process id of a machine."""
        return self._pid_by_name[machine.name]

    @property
    def _pid_by_name(self) -> dict[str, int]:
        return {process.machine.name: process.pid for process in self._processes}

    def host_of(self, machine: Machine) -> int:
        """Return the number of the host that a machine stands for."""
        return 0 if self.plan.settings["same_host"] else int(machine.name[1]) - 1

    def is_running(self, pid: int) -> bool:
        """Say whether a process is there, if only frozen."""
        return any(
            each.pid == pid and each.machine.state != "dead" and not each.task.done()
            for each in self._processes
        )

    # Running

    def run(self) -> Outcome:
        """Run the plan and everything after it."""
        started = time.process_time()
        database.prepare()
        self._database.open()
        for each in SUBSCRIPTIONS:
            DirectusSubscription.objects.create(
                name=each.name,
                collection=each.collection,
                filter={"status": {"_eq": each.status}} if each.status else {},
                debounce=each.debounce,
            )
        connections["default"].close()
        loop = self._loop
        loop.run_job = self._database.run_job
        loop.on_switch = _become
        receivers.connect()
        try:
            with (
                patches.installed(self, self._directus, self.plan.seed),
                self._listening_to_logs(),
                _without_garbage(),
            ):
                asyncio.set_event_loop(loop)
                try:
                    loop.run_until_complete(self._live())
                except Stuck as error:
                    violation = Violation("spin", str(error), loop.time())
                    self.oracle.violations.append(violation)
                finally:
                    for process in self._processes:
                        loop.kill(process.machine)
                    loop.bury()
                effects = self._database.ask("SELECT count(*) FROM simulation_effect")[0][0]
        finally:
            receivers.disconnect()
            asyncio.set_event_loop(None)
            loop.close()
            self._database.close()
        return Outcome(
            self.plan,
            self.oracle.violations,
            self.trace,
            loop.time(),
            time.process_time() - started,
            self.truth.changes,
            effects,
            dict(self.oracle.checks),
        )

    async def _live(self) -> None:
        await self._database.begin()
        for host in self._hosts:
            self._start(host)
        self._in_background(self._look_again_and_again())
        for step in self.plan.steps:
            await self._until(step.at)
            self._say(str(step.kind), step.values)
            self._do(step)
        await self._until(self.plan.seconds)
        await self._repair()
        until = self._loop.time() + _PATIENCE
        quiet = 0
        # A ring without a row makes an event after some seconds only.
        while self._loop.time() < until and quiet < 4:
            await asyncio.sleep(_LOOK)
            self._look()
            quiet = 0 if self.oracle.unfinished() else quiet + 1
        self.oracle.finish(self._health())
        await self._directus.sockets.close()
        await self._database.end()

    async def _look_again_and_again(self) -> None:
        while self._loop.time() < self.plan.seconds:
            await asyncio.sleep(min(4 * _LOOK, self.plan.seconds - self._loop.time() + 0.1))
            self._look()

    def _look(self) -> None:
        tasks = [
            sum(not task.done() for task in process.machine.tasks) for process in self._processes
        ]
        self.oracle.look(max(tasks), self._health())

    def _health(self) -> str:
        """Return the best that a probe on one of the hosts says: it compares times by its clock."""
        levels = set()
        for process in self._processes[-2 * len(self._hosts) :]:
            probe = partial(gather, ["default"], HealthThresholds())
            (health,) = self._operate(probe, process.machine)
            levels.add(str(health.level))
        return next((level for level in ("ok", "degraded") if level in levels), "failed")

    async def _until(self, moment: float) -> None:
        await asyncio.sleep(max(moment - self._loop.time(), 0))

    def _say(self, kind: str, values: Values) -> None:
        details = ", ".join(f"{name} {value}" for name, value in values.items())
        self.trace.add(self._loop.time(), "", f"{kind} {details}".rstrip())

    def _in_background(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chore_done)

    def _chore_done(self, task: asyncio.Task[None]) -> None:
        self._chores.discard(task)
        task.result()

    # Listeners

    def _settings(self) -> ConnectionSettings:
        settings = self.plan.settings
        return ConnectionSettings(
            alias="default",
            url=URL,
            token=TOKEN,
            retry_attempts=500,
            retry_ceiling=8.0,
            catch_up_interval=15.0,
            poll_interval=settings["poll_interval"],
            hole_age=settings["hole_age"],
        )

    def _start(self, host: _Host) -> None:
        if host.process is not None and self.is_running(host.process.pid):
            return
        host.starts += 1
        machine = Machine(f"m{host.number + 1}.{host.starts}", host.ahead, host.rate)
        stopping = asyncio.Event()
        pid = next(self._pids)
        self.trace.add(self._loop.time(), machine.name, f"starts, process {pid}")
        with on_machine(machine):
            work = self._listen(machine, stopping)
            task = self._loop.create_task(work, name=f"listener-{machine.name}")
        host.process = _Process(machine, pid, stopping, task)
        self._processes.append(host.process)
        process = host.process
        task.add_done_callback(lambda done: self._ended(host, process, done))

    async def _listen(self, machine: Machine, stopping: asyncio.Event) -> None:
        await Listener([self._settings()], clock=self._clock(machine)).run(stopping)

    def _clock(self, machine: Machine) -> SimulatedClock:
        return SimulatedClock(machine, self._chance(f"clock/{machine.name}"))

    def _ended(self, host: _Host, process: _Process, task: asyncio.Task[None]) -> None:
        name = process.machine.name
        error = None if task.cancelled() else task.exception()
        self.trace.add(self._loop.time(), name, f"ended: {error!r}" if error else "ended")
        # A token that is wrong at the start, or a receiver that hangs at the end, may end it.
        is_expected = isinstance(error, StopTimedOut | ConnectionImpossible)
        if error is not None and not is_expected:
            self.oracle.found("crash", f"{name} ended by {type(error).__name__}: {error}")
        self._loop.kill(process.machine)
        if host.wanted and host.process is process:
            self._in_background(self._start_later(host, 2.0))

    async def _start_later(self, host: _Host, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._start(host)

    def _host(self, values: Values) -> _Host:
        return self._hosts[values["listener"] % len(self._hosts)]

    # Steps

    def _do(self, step: Step) -> None:
        name = "_do_" + step.kind.replace("-", "_")
        getattr(self, name)(step.values)

    def _do_write(self, values: Values) -> None:
        self._in_background(self._write(values))

    async def _write(self, values: Values) -> None:
        transaction = self.truth.begin()
        count = len(values["changes"])
        for change in values["changes"]:
            await transaction.change(*change, values["way"])
            await asyncio.sleep(values["takes"] / count)
        is_rolled_back = values["is_rolled_back"]
        rows = transaction.end(self._loop.time(), is_rolled_back=is_rolled_back)
        if is_rolled_back:
            self.trace.add(self._loop.time(), "directus", "rolled back")
        for row in rows:
            words = f"row {row.number}: {row.action} {' '.join(row.item)} v{row.version}"
            self.trace.add(self._loop.time(), "directus", words)

    def _do_kill(self, values: Values) -> None:
        host = self._host(values)
        if host.process is not None and host.process.machine.state != "dead":
            self._loop.kill(host.process.machine)
            self._directus.sockets.cut(host.process.machine.name)
            self._in_background(self._start_later(host, values["down"]))

    def _do_stop(self, values: Values) -> None:
        host = self._host(values)
        if host.process is not None and not host.process.stopping.is_set():
            with on_machine(host.process.machine):
                host.process.stopping.set()
            self._in_background(self._start_later(host, values["down"]))

    def _do_freeze(self, values: Values) -> None:
        host = self._host(values)
        if host.process is not None and host.process.machine.state == "up":
            self._loop.freeze(host.process.machine)
            self._in_background(self._thaw(host.process.machine, values["seconds"]))

    async def _thaw(self, machine: Machine, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._loop.thaw(machine)
        self.trace.add(self._loop.time(), machine.name, "goes on")

    def _do_clock(self, values: Values) -> None:
        host = self._host(values)
        host.ahead += values["seconds"]
        self.oracle.most_ahead = max(self.oracle.most_ahead, host.ahead)
        if host.process is not None:
            host.process.machine.ahead = host.ahead

    def _until_then(self, values: Values) -> float:
        return self._loop.time() + float(values["seconds"])

    def _do_directus_down(self, values: Values) -> None:
        self._directus.sockets.cut()
        self._directus.weather.down_until = self._until_then(values)

    def _do_directus_frozen(self, values: Values) -> None:
        self._directus.fake.freeze()
        self._in_background(self._later(values, self._directus.fake.thaw))

    def _do_directus_slow(self, values: Values) -> None:
        self._directus.weather.slow_until = self._until_then(values)

    def _do_answers(self, values: Values) -> None:
        self._directus.weather.statuses += values["statuses"]

    def _do_garbled(self, values: Values) -> None:
        self._directus.weather.garbled += values["answers"]

    def _do_network(self, values: Values) -> None:
        host = self._host(values)
        if host.process is not None:
            self._directus.weather.cut[host.process.machine.name] = self._until_then(values)
            self._directus.sockets.cut(host.process.machine.name)

    def _do_rings(self, values: Values) -> None:
        name = f"{values['way']}_until"
        setattr(self._directus.sockets.weather, name, self._until_then(values))

    def _do_sockets_cut(self, values: Values) -> None:
        self._directus.sockets.cut()

    def _do_cache_forgets(self, values: Values) -> None:
        self._directus.fake.forget_cache()

    def _do_database(self, values: Values) -> None:
        for _ in range(values["times"]):
            fault = Fault(values["fault"], values["thread"], "", values["after"])
            self._database.faults.append(fault)

    def _do_crash(self, values: Values) -> None:
        self._database.faults.append(Fault("crash", values["thread"], "", values["after"]))

    def _crashed(self, machine: Machine) -> None:
        self.trace.add(self._loop.time(), machine.name, "crashed in a job")
        for host in self._hosts:
            if host.process is not None and host.process.machine is machine:
                with on_machine(None):
                    self._do_kill({"listener": host.number, "down": 2.0})

    def _do_database_away(self, values: Values) -> None:
        name = ""
        if values["listener"] is not None:
            host = self._host(values)
            name = host.process.machine.name if host.process else ""
        self._database.unreachable[name] = self._until_then(values)

    def _do_database_slow(self, values: Values) -> None:
        self._database.slow_until = self._until_then(values)

    def _do_hang(self, values: Values) -> None:
        self._database.hangs.append((values["thread"], values["seconds"]))

    def _do_receiver(self, values: Values) -> None:
        ways = self.book.failures.setdefault(values["name"], [])
        ways += [values["way"]] * values["times"]

    def _do_token_refused(self, values: Values) -> None:
        self._directus.fake.refuse_tokens()
        self._in_background(self._later(values, self._directus.fake.refuse_tokens, False))

    def _do_rights_lost(self, values: Values) -> None:
        user, lost = self._directus.user, values["collection"]
        self.oracle.excused |= set(COLLECTIONS if lost == ACTIVITY else [lost])
        user.readable = {name: rule for name, rule in RIGHTS.items() if name != lost}
        self._in_background(self._later(values, setattr, user, "readable", None))

    def _do_unreadable(self, values: Values) -> None:
        collection = values["collection"]
        keys = self.truth.items(collection)
        if keys:
            key = keys[values["pick"] % len(keys)]
            self._directus.fake.spoil(collection, key)
            self._in_background(self._later(values, self._directus.fake.mend, collection, key))

    def _do_log_pruned(self, values: Values) -> None:
        # Retention deletes by age, and a row is read, or its outage noticed, before it is old.
        before = self._loop.time() - values["older"]
        old = [row.number for row in self.truth.rows if row.written_at < before]
        until = max(old, default=0)
        self._directus.fake.prune_log(until)
        self.truth.prune(until, self._loop.time())

    def _do_log_noise(self, values: Values) -> None:
        work = self._directus.fake.write_log(values["action"], values["collection"], "1")
        self._in_background(_finish(work))

    # What operators do

    def _do_retry(self, values: Values) -> None:
        self._operate(lambda: retry_now(InboxEvent.objects.all()))

    def _do_disable(self, values: Values) -> None:
        number = values["subscription"] + 1
        rows = DirectusSubscription.objects.filter(pk=number)
        self._operate(lambda: rows.update(enabled=False))
        enable = partial(self._operate, lambda: rows.update(enabled=True))
        self._in_background(self._later(values, enable))

    def _do_rename(self, values: Values) -> None:
        rows = DirectusSubscription.objects.filter(pk=values["subscription"] + 1)
        self._operate(lambda: rows.update(name=Concat("name", Value(RENAMED))))

    def _do_reload(self, values: Values) -> None:
        rows = DirectusSubscription.objects.filter(pk=values["subscription"] + 1)
        self._operate(lambda: rows.update(snapshot_of=LOAD_AGAIN))

    def _do_replay(self, values: Values) -> None:
        machine = Machine(f"operator{next(self._pids)}")
        with on_machine(machine):
            self._in_background(self._replay(machine, values))

    async def _replay(self, machine: Machine, values: Values) -> None:
        collection = values["collection"]
        wanted = self._operate(lambda: desired_subscriptions("default"))
        own = [each for each in wanted.values() if each.query.collection == collection]
        if not own:
            return  # the command refuses that
        since = self._directus.now() - timedelta(seconds=values["back"])
        rows = self.truth.since(collection, self._loop.time() - values["back"] + 1)
        selection = Selection(collection, since)
        replay = Replay(self._settings(), own, selection, clock=self._clock(machine))
        unreadable = set(self._directus.store.spoiled)
        try:
            await replay.run()
        except DirectusRealtimeError as error:
            self.trace.add(self._loop.time(), machine.name, f"replay failed: {error}")
        else:
            self.trace.add(self._loop.time(), machine.name, "replay is complete")
            unreadable |= set(self._directus.store.spoiled)
            readable = [row for row in rows if row.item not in unreadable]
            self.oracle.after_replay([each.name for each in own], readable)

    def _operate(self, work: Callable[[], Any], machine: Machine | None = None) -> Any:
        """Do something with the database, as the admin or a command does."""
        return self._database.run_now(lambda: self._database.without_faults(work), machine)

    async def _later(self, values: Values, work: Callable[..., object], *args: Any) -> None:
        await asyncio.sleep(values["seconds"])
        work(*args)

    async def _repair(self) -> None:
        """End everything that is wrong, and wait until every transaction is over."""
        self.trace.add(self._loop.time(), "", "everything is repaired")
        while self._chores:
            await asyncio.wait(list(self._chores))
        weather = self._directus.weather
        weather.down_until = weather.slow_until = 0.0
        self._directus.fake.thaw()
        self._directus.sockets.weather = RingWeather()
        weather.cut.clear()
        weather.statuses.clear()
        weather.garbled = 0
        self._database.faults.clear()
        self._database.unreachable.clear()
        self._database.hangs.clear()
        self._database.slow_until = 0.0
        self.book.failures.clear()
        self._directus.fake.refuse_tokens(False)
        self._directus.user.readable = None
        for host in self._hosts:
            if host.process is not None:
                self._loop.thaw(host.process.machine)
            self._start(host)

    # What the listeners say

    @contextlib.contextmanager
    def _listening_to_logs(self) -> Iterator[None]:
        handler = _LogHandler(self)
        logger = logging.getLogger("directus_realtime")
        level, propagate = logger.level, logger.propagate
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate

    def hear(self, record: logging.LogRecord, machine: Machine | None) -> None:
        """Take a line of a listener's log."""
        words = f"{record.levelname.lower()}: {record.getMessage()}"
        if record.exc_info and record.exc_info[1] is not None:
            words += f" [{record.exc_info[1]!r}]"
            self.oracle.found("crash", words)
        self.trace.add(self._loop.time(), machine.name if machine else "", words)


class _LogHandler(logging.Handler):
    """Passes log records on to a world."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        from tests.simulation.loop import MACHINE

        self._world.hear(record, MACHINE.get())


def _become(machine: Machine) -> None:
    """Let what a process keeps in a module be that of the machine that runs."""
    crash_marker._THIS_PROCESS = machine.name


async def _finish(work: Any) -> None:
    await work


@contextlib.contextmanager
def _without_garbage() -> Iterator[None]:
    """Collect garbage between simulations only: its order is not that of the seed."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def simulate(plan: Plan, *, is_detailed: bool = False) -> Outcome:
    """Run a plan, and return what came of it."""
    return World(plan, is_detailed=is_detailed).run()
