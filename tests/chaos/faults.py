"""What is done to the parts of a run, chosen by a seed."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.db import connections

from directus_realtime.models import InboxEvent
from tests.chaos.app.models import Effect
from tests.chaos.databases import full_disk, terminate_connections
from tests.chaos.world import World
from tests.helpers.site import ALIAS
from tests.helpers.waiting import wait_for

#: Waits for some seconds in the middle of a fault.
Wait = Callable[[float], None]
Act = Callable[[World, random.Random, Wait], None]


def kill_listener(world: World, chance: random.Random, wait: Wait) -> None:
    world.listeners.kill(world.active_listener())
    wait(chance.uniform(0, 3))
    world.listeners.start()


def terminate_listener(world: World, chance: random.Random, wait: Wait) -> None:
    world.listeners.terminate(world.active_listener())
    wait(chance.uniform(0, 3))
    world.listeners.start()


def pause_listener(world: World, chance: random.Random, wait: Wait) -> None:
    pid = world.active_listener()
    world.listeners.pause(pid)
    time.sleep(chance.uniform(4, 12))
    world.listeners.resume(pid)


def swap_listeners(world: World, chance: random.Random, wait: Wait) -> None:
    """A second listener comes up, and the first one goes, one way or another."""
    old = world.active_listener()
    with world.listeners.one_more() as new:
        wait_for(lambda: world.stands_by(new), 30, "the second listener to stand by")
        way = chance.choice(["SIGTERM", "SIGKILL", "SIGSTOP"])
        seconds = chance.uniform(1, 4)
        if way == "SIGSTOP":
            _freeze_until_replaced(world, old, new, seconds)
            return
        end = world.listeners.terminate if way == "SIGTERM" else world.listeners.kill
        end(old)
        wait_for(lambda: world.is_replaced(old), 30, "another listener to take over")
        time.sleep(seconds)


def _freeze_until_replaced(world: World, old: int, new: int, seconds: float) -> None:
    """Freeze the active listener, as a paused machine does, and end it later."""
    world.listeners.pause(old)
    try:
        wait_for(lambda: world.is_replaced(old), 15, "another listener to take over")
        time.sleep(seconds)
    except AssertionError:
        # Frozen in the middle of a write, it keeps everybody else out of SQLite.
        if world.database == "postgres":
            raise
    finally:
        world.listeners.resume(old)
    wait_for(lambda: world.stands_by(old) or world.stands_by(new), 30, "one to stand by")
    world.listeners.terminate(old)


def kill_directus(world: World, chance: random.Random, wait: Wait) -> None:
    world.directus.server.kill()
    wait(chance.uniform(0, 2))
    world.directus.server.start()


def terminate_directus(world: World, chance: random.Random, wait: Wait) -> None:
    world.directus.server.stop()
    wait(chance.uniform(0, 2))
    world.directus.server.start()


def pause_directus(world: World, chance: random.Random, wait: Wait) -> None:
    world.directus.server.pause()
    wait(chance.uniform(0.6, 1.8) * world.patience)
    world.directus.server.resume()


def cut_network(world: World, chance: random.Random, wait: Wait) -> None:
    world.proxy.cut()
    wait(chance.uniform(2, 9))
    world.proxy.restore(close=chance.random() < 0.5)


def delay_socket(world: World, chance: random.Random, wait: Wait) -> None:
    """REST goes on meanwhile, so the log tells of changes before their events come in."""
    world.proxy.delay_sockets()
    wait(chance.uniform(0.3, 0.95) * world.patience)
    world.proxy.release_sockets()


def restart_redis(world: World, chance: random.Random, wait: Wait) -> None:
    world.redis.stop()
    wait(chance.uniform(0.5, 3))
    world.redis.start()


def end_connections_of_site(world: World, chance: random.Random, wait: Wait) -> None:
    for _ in range(chance.randint(1, 3)):
        terminate_connections(world.site_database_url)
        connections[ALIAS].close()  # ours went with them
        wait(chance.uniform(0.1, 1))


def end_connections_of_directus(world: World, chance: random.Random, wait: Wait) -> None:
    for _ in range(chance.randint(1, 2)):
        terminate_connections(world.directus.database_url)
        wait(chance.uniform(0.1, 1))


def fill_disk(world: World, chance: random.Random, wait: Wait) -> None:
    with _full_disk(world):
        wait(chance.uniform(2, 5))


@contextlib.contextmanager
def _full_disk(world: World) -> Iterator[None]:
    if world.database == "postgres":
        tables = [InboxEvent._meta.db_table, Effect._meta.db_table]
        with full_disk(world.site_database_url, tables):
            yield
        return
    world.disk_full.touch()
    try:
        yield
    finally:
        world.disk_full.unlink()


#: By name, with the databases of the site that a fault is possible with.
FAULTS: dict[str, tuple[Act, str]] = {
    "SIGKILL of the listener": (kill_listener, "sqlite postgres"),
    "SIGTERM of the listener": (terminate_listener, "sqlite postgres"),
    "SIGSTOP of the listener": (pause_listener, "sqlite postgres"),
    "two listeners swap": (swap_listeners, "sqlite postgres"),
    "SIGKILL of Directus": (kill_directus, "sqlite postgres"),
    "SIGTERM of Directus": (terminate_directus, "sqlite postgres"),
    "SIGSTOP of Directus": (pause_directus, "sqlite postgres"),
    "network cut silently": (cut_network, "sqlite postgres"),
    "WebSocket delayed": (delay_socket, "sqlite postgres"),
    "Redis restarted": (restart_redis, "sqlite postgres"),
    "PostgreSQL connections of the site ended": (end_connections_of_site, "postgres"),
    "PostgreSQL connections of Directus ended": (end_connections_of_directus, "sqlite postgres"),
    "disk full under the site": (fill_disk, "sqlite postgres"),
}
#: Faults that leave the listener alone, so that it may be killed in the middle of them.
_ALONE = {
    "SIGKILL of the listener",
    "SIGTERM of the listener",
    "SIGSTOP of the listener",
    "two listeners swap",
}


@dataclass(frozen=True)
class Fault:
    """A fault of the plan.

    Attributes:
        name: Of the fault.
        seed: Of its times.
        kills_listener: Whether the listener is killed in the middle of it.
        when_calm: Whether the listener first gets over the fault before.
    """

    name: str
    seed: int
    kills_listener: bool
    when_calm: bool

    def __str__(self) -> str:
        return self.name + (", and SIGKILL of the listener" if self.kills_listener else "")

    def happen(self, world: World) -> None:
        """Let it happen, and mend it."""

        def wait(seconds: float) -> None:
            time.sleep(seconds / 2)
            if self.kills_listener:
                for pid in world.listeners.pids:
                    world.listeners.kill(pid)
                world.listeners.start()
            time.sleep(seconds / 2)

        try:
            FAULTS[self.name][0](world, random.Random(self.seed), wait)
        except AssertionError as error:
            world.troubles.append(f"{self.name}: {error}")


def plan(
    seed: int, count: int, database: str, only: str = "", *, directus_on_sqlite: bool = False
) -> list[Fault]:
    """So many faults: every kind once in random order, then again.

    Args:
        seed: Of the order, and of everything about the faults.
        count: Of faults.
        database: ``sqlite`` or ``postgres``, of the site.
        only: A part of the names of those that may happen.
        directus_on_sqlite: Whether Directus has no server whose connections can be ended.
    """
    chance = random.Random(seed)
    names: list[str] = []
    possible = [name for name, (_, where) in FAULTS.items() if database in where.split()]
    if directus_on_sqlite:
        possible.remove("PostgreSQL connections of Directus ended")
    kinds = [name for name in possible if only in name]
    while kinds and len(names) < count:
        names += chance.sample(kinds, len(kinds))
    return [
        Fault(
            name,
            seed=chance.getrandbits(32),
            kills_listener=name not in _ALONE and chance.random() < 0.25,
            when_calm=chance.random() < 0.6,
        )
        for name in names[:count]
    ]
