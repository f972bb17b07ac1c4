"""One run: writers and faults side by side, then quiet, then the checks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tests.chaos.checks import Result, check_all
from tests.chaos.faults import plan
from tests.chaos.world import FAST_PINGS, SLOW_PINGS, World
from tests.chaos.writers import Writers

#: Seconds for everything to be read and delivered once the writers have stopped.
SETTLE_TIMEOUT = 240.0
#: Seconds after which the writers stop, whatever they have done, for each change.
SECONDS_PER_CHANGE = 0.12
#: Seconds on top of that for each fault.
SECONDS_PER_FAULT = 25.0
#: Seconds for a listener to get over a fault.
CALM_TIMEOUT = 30.0


class ChaosRun:
    """A run with everything that makes it what it is.

    Args:
        folder: For logs and databases.
        seed: Of the faults and of the writers' choices.
        changes: How many the writers make.
        faults: How many happen.
        database: ``sqlite`` or ``postgres``, for the site.
        listeners: How many run at the same time.
        only: A part of the names of the faults that may happen.
        variant: The settings and the database of Directus, by name.
        directus_env: More settings of Directus.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        changes: int,
        faults: int,
        database: str,
        listeners: int = 1,
        only: str = "",
        variant: str = "",
        directus_env: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._folder = folder
        self._seed = seed
        self._changes = changes
        self._variant = variant
        self._directus_env = directus_env
        self._plan = plan(seed, faults, database, only, directus_on_sqlite=variant == "sqlite")
        self._database = database
        self._listeners = listeners
        self._started = time.monotonic()

    def run(self) -> list[Result]:
        """Do it, and check it."""
        pings = SLOW_PINGS if self._seed % 3 == 0 else FAST_PINGS
        with World(
            self._folder,
            self._database,
            self._listeners,
            pings,
            variant=self._variant,
            directus_env=self._directus_env,
        ) as world:
            world.listen()
            self._say(f"a connection counts as dead after {world.patience:g} s of silence")
            since = world.directus.last_activity()
            writers = world.write_changes(self._changes, self._seed)
            self._say("all is subscribed; the writers start")
            with world.sample(since) as sampler:
                self._write_and_settle(world, writers)
            evidence = world.collect(writers, sampler, since)
        evidence.save(self._folder)
        origins = Counter(effect.origin for effect in evidence.effects)
        actions = Counter(row.action for row in evidence.activity)
        self._say(f"Directus logged {len(evidence.activity)} changes: {_counts(actions)}")
        self._say(f"{len(evidence.effects)} effects: {_counts(origins)}")
        return check_all(evidence)

    def _write_and_settle(self, world: World, writers: Writers) -> None:
        try:
            writers.start()
            self._disturb(world, writers)
        finally:
            writers.stop()
        self._say(f"{writers.ledger.changes} changes confirmed; waiting for the listener")
        missing = world.wait_until_settled(SETTLE_TIMEOUT)
        if missing:
            world.troubles.append(f"not settled within {SETTLE_TIMEOUT:g} s: {missing}")
        self._say("settled" if not missing else world.troubles[-1])

    def _disturb(self, world: World, writers: Writers) -> None:
        """Let a fault happen after each part of the changes."""
        step = self._changes // (len(self._plan) + 1)
        seconds = SECONDS_PER_CHANGE * self._changes
        seconds += (SECONDS_PER_FAULT + world.patience) * len(self._plan)
        until = time.monotonic() + seconds
        for number, fault in enumerate(self._plan, 1):
            if fault.when_calm and not world.wait_until_live(CALM_TIMEOUT):
                self._say(f"the listener is not live again within {CALM_TIMEOUT:g} s")
            writers.allow(step * number)
            self._wait_for_changes(world, writers, step * number, until)
            writers.allow(step * (number + 1))
            self._say(f"{writers.ledger.changes:6} changes  fault {number:2}: {fault}")
            fault.happen(world)
        writers.allow(self._changes)
        self._wait_for_changes(world, writers, self._changes, until)

    def _wait_for_changes(self, world: World, writers: Writers, changes: int, until: float) -> None:
        while writers.ledger.changes < changes and not writers.is_done:
            if time.monotonic() > until:
                world.troubles.append(f"{writers.ledger.changes} of {changes} changes in time")
                return
            world.watch()
            time.sleep(0.05)

    def _say(self, text: str) -> None:
        print(f"{time.monotonic() - self._started:7.1f} s  {text}", flush=True)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counter.items()))
