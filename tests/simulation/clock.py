"""Clocks of simulated machines, and the places where the product asks for the time."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta

from directus_realtime.utils.system_clock import SystemClock
from tests.simulation.loop import MACHINE, Machine

#: True time at the beginning of every simulation.
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
#: Reading of a monotonic clock then: machines run for a while already.
UPTIME = 10_000.0


def true_seconds() -> float:
    """Return the seconds since the beginning of the simulation."""
    return asyncio.get_running_loop().time()


def true_time(seconds: float | None = None) -> datetime:
    """Return the true time, now or at some second of the simulation."""
    return START + timedelta(seconds=true_seconds() if seconds is None else seconds)


def monotonic() -> float:
    """Return the monotonic clock of the machine that asks."""
    machine = MACHINE.get()
    return UPTIME + true_seconds() * (machine.rate if machine else 1.0)


def now() -> datetime:
    """Return the clock of the day of the machine that asks; aware."""
    machine = MACHINE.get()
    return true_time() if machine is None else time_on(machine)


def time_on(machine: Machine) -> datetime:
    """Return the clock of the day of a machine."""
    return START + timedelta(seconds=true_seconds() * machine.rate + machine.ahead)


def true_seconds_of(moment: datetime, machine: Machine) -> float:
    """Return the true second at which a machine's clock, as it goes now, shows a time."""
    return ((moment - START).total_seconds() - machine.ahead) / machine.rate


class SimulatedClock(SystemClock):
    """The clocks of a machine; it waits in its own seconds, and draws from the seed.

    Args:
        machine: The machine.
        chance: Gives random numbers.
    """

    def __init__(self, machine: Machine, chance: random.Random) -> None:
        self._machine = machine
        self._chance = chance

    def monotonic(self) -> float:
        return UPTIME + true_seconds() * self._machine.rate

    def now(self) -> datetime:
        return time_on(self._machine)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._machine.rate)

    async def wait(self, event: asyncio.Event, timeout: float) -> bool:
        return await super().wait(event, timeout / self._machine.rate)

    def uniform(self, low: float, high: float) -> float:
        return self._chance.uniform(low, high)


class SimulatedDatetime(datetime):
    """Takes the place of ``datetime`` where a module asks it for the present time."""

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        return now()
