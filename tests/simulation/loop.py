"""An event loop in virtual time, shared by simulated machines that may freeze or die."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any

#: True seconds after which a simulation must be over.
_LONGEST = 7200.0
#: Callbacks of one instant after which the world is taken for stuck.
_MOST_AT_ONCE = 20_000


class Stuck(RuntimeError):
    """Nothing will ever happen again, or too much happens without any time passing."""


class Machine:
    """A computer with one listener process: its clock, and whether it runs.

    Args:
        name: Name of the machine.
        ahead: Seconds that its clock of the day is ahead of the true time.
        rate: Seconds that its clocks count in one true second.

    Attributes:
        state: ``up``, ``frozen`` or ``dead``.
    """

    def __init__(self, name: str, ahead: float = 0.0, rate: float = 1.0) -> None:
        self.name = name
        self.ahead = ahead
        self.rate = rate
        self.state = "up"
        self.parked: list[asyncio.Handle] = []
        self.tasks: list[asyncio.Task[Any]] = []

    def __repr__(self) -> str:
        return f"<Machine {self.name} {self.state}>"


#: Machine that the running code belongs to; ``None`` for Directus and for the world itself.
MACHINE: ContextVar[Machine | None] = ContextVar("simulated_machine", default=None)


@contextlib.contextmanager
def on_machine(machine: Machine | None) -> Iterator[None]:
    """Run a block, and start the tasks in it, on a machine."""
    token = MACHINE.set(machine)
    try:
        yield
    finally:
        MACHINE.reset(token)


class SimulatedExecutor:
    """Stands for a thread pool of one thread: its jobs run in the loop, after a delay.

    Args:
        max_workers: Accepted for the sake of the real one.
        thread_name_prefix: Name of the thread.
    """

    def __init__(self, max_workers: int = 1, thread_name_prefix: str = "") -> None:
        self.name = thread_name_prefix.removeprefix("directus-")
        self.jobs: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self.is_working = False

    def submit(self, job: Callable[..., Any], *args: Any) -> Future[Any]:
        """Queue a job."""
        future: Future[Any] = Future()
        self.jobs.append((future, lambda: job(*args)))
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        loop.start_worker(self)
        return future

    def shutdown(self, wait: bool = True) -> None:
        """Do nothing: what is queued still runs."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """Waits for nothing: where no callback is ready, the time of the next one is now.

    Callbacks run in the order in which they became ready. Those of a frozen machine are kept
    until it is thawed, and those of a dead one never run: no ``finally`` of its tasks does.

    Attributes:
        run_job: Runs a job of an executor on behalf of a machine; set by the world.
        on_switch: Called before another machine runs than the one that ran last.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._count_at_once = 0
        self._graveyard: list[asyncio.Task[Any]] = []
        self._default = SimulatedExecutor(thread_name_prefix="default")
        self.run_job: Callable[[SimulatedExecutor, Callable[[], Any]], Any] | None = None
        self.on_switch: Callable[[Machine], None] = lambda machine: None
        self._running: Machine | None = None
        self.set_task_factory(_make_task)

    def time(self) -> float:
        return self._now

    # What a loop with files would have

    def _process_events(self, event_list: Any) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def _run_once(self) -> None:
        scheduled, ready = self._scheduled, self._ready  # type: ignore[attr-defined]
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
        if not ready:
            if not scheduled:
                raise Stuck("Nothing will ever happen again.")
            if scheduled[0]._when > self._now:
                self._now, self._count_at_once = scheduled[0]._when, 0
                if self._now > _LONGEST:
                    raise Stuck("The simulation does not end.")
        while scheduled and scheduled[0]._when <= self._now:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            ready.append(handle)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                self._run(handle)
        if self._stopping:  # type: ignore[attr-defined]
            return
        self._count_at_once += 1
        if self._count_at_once > _MOST_AT_ONCE:
            running = sorted(
                f"{task.get_name()} in {_place(task)}" for task in asyncio.all_tasks(self)
            )
            words = "; ".join(running[:40])
            raise Stuck(f"Time stands still at {self._now:.3f} s; there are {words}.")

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    def _run(self, handle: asyncio.Handle) -> None:
        machine = handle._context.get(MACHINE)  # type: ignore[attr-defined]
        if machine is None or machine.state == "up":
            if machine is not None and machine is not self._running:
                self._running = machine
                self.on_switch(machine)
            handle._run()
        elif machine.state == "frozen":
            machine.parked.append(handle)

    # Machines

    def kill(self, machine: Machine) -> None:
        """End a machine as a loss of power does."""
        machine.state = "dead"
        machine.parked.clear()
        self._graveyard += machine.tasks
        machine.tasks = []

    def freeze(self, machine: Machine) -> None:
        """Stop a machine until it is thawed; it does not notice."""
        machine.state = "frozen"

    def thaw(self, machine: Machine) -> None:
        """Let a frozen machine go on."""
        if machine.state != "frozen":
            return
        machine.state = "up"
        parked, machine.parked = machine.parked, []
        self._ready.extend(parked)  # type: ignore[attr-defined]

    def bury(self) -> None:
        """Drop the tasks of dead machines, without letting their clean-up do anything."""
        tasks, self._graveyard = self._graveyard, []
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            if not task.done():
                with contextlib.suppress(BaseException):  # of a process that is dead
                    task.get_coro().close()  # type: ignore[union-attr]

    # Threads

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """Queue a job; like the real one, it runs even where nobody waits for it any more."""
        chosen = executor if isinstance(executor, SimulatedExecutor) else self._default
        answer = self.create_future()
        job: Future[Any] = Future()
        chosen.jobs.append((job, lambda: func(*args)))

        def done(finished: Future[Any]) -> None:
            if answer.done():
                return
            if error := finished.exception():
                answer.set_exception(error)
            else:
                answer.set_result(finished.result())

        def cancelled(waiting: asyncio.Future[Any]) -> None:
            if waiting.cancelled():
                job.cancel()

        job.add_done_callback(lambda f: None if f.cancelled() else done(f))
        answer.add_done_callback(cancelled)
        self.start_worker(chosen)
        return answer

    def start_worker(self, executor: SimulatedExecutor) -> None:
        """Have the thread of an executor work off its jobs."""
        if not executor.is_working:
            executor.is_working = True
            self.create_task(self._work(executor), name=f"thread-{executor.name}")

    async def _work(self, executor: SimulatedExecutor) -> None:
        while executor.jobs:
            future, job = executor.jobs.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = await self.run_job(executor, job) if self.run_job else job()
            except GeneratorExit:
                raise  # the end of a machine that is dead
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
        executor.is_working = False


def _place(task: asyncio.Task[Any]) -> str:
    frames = task.get_stack(limit=1)
    return f"{frames[-1].f_code.co_qualname}:{frames[-1].f_lineno}" if frames else "nowhere"


def _make_task(loop: Any, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **kwargs)
    machine = MACHINE.get()
    if machine is not None:
        machine.tasks.append(task)
        if len(machine.tasks) > 2000:
            machine.tasks = [each for each in machine.tasks if not each.done()]
    return task
