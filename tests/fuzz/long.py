"""Fuzzing by plain chance, for as long as it takes.

Run it: ``python -m tests.fuzz.long --frames 1000000 --conversations 20000 --seed 1``. It prints
counts and each kind of crash with the frame, or the seed, that shows it; 1 is the exit status
where there is one.
"""

from __future__ import annotations

import argparse
import collections
import logging
import random
import sys
import time
import traceback
from collections.abc import Callable, Iterator

from directus_realtime.protocol import messages
from directus_realtime.protocol.session import Session
from tests.fuzz import keeper_world, session_world
from tests.fuzz.frames import (
    PRIMARY_KEYS,
    SESSION_STATES,
    FrameMaker,
    Watcher,
    check_decode,
    check_receive,
    session_in,
)
from tests.fuzz.keeper_world import KeeperWorld
from tests.fuzz.session_world import SessionWorld

#: A session takes so many frames before the next one takes its place.
_FRAMES_OF_A_SESSION = 50
#: Steps of a conversation, at the most.
_STEPS = 60


class Crashes:
    """What went wrong, one example of each kind."""

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self._examples: dict[str, str] = {}

    def add(self, error: BaseException, example: str) -> None:
        """Count a crash; its kind is the place and the first words."""
        place = traceback.extract_tb(error.__traceback__)[-1]
        words = str(error).partition(":")[0][:80]
        kind = f"{type(error).__name__}: {words} ({place.filename}:{place.lineno})"
        self.counts[kind] += 1
        self._examples.setdefault(kind, example)

    def print(self) -> None:
        """Print each kind with its example."""
        for kind, count in self.counts.most_common():
            print(f"{count:9,} x {kind}\n            {self._examples[kind]}")


def fuzz_frames(count: int, chance: random.Random, crashes: Crashes) -> Iterator[int]:
    """Frames into the decoder, sessions of every state and feeds; gives how many so far."""
    maker = FrameMaker(chance)
    watchers = [Watcher(key, item) for key in PRIMARY_KEYS for item in (None, 1)]
    session = Session()
    now = 0.0
    for number in range(count):
        if number % _FRAMES_OF_A_SESSION == 0:
            session, now = session_in(chance.choice(SESSION_STATES)), 0.0
        frame = maker.make()
        now += chance.random()
        try:
            message = check_decode(frame)
            check_receive(session, frame, now)
            if isinstance(message, messages.Changed):
                chance.choice(watchers).check(message)
        except Exception as error:
            crashes.add(error, repr(frame)[:300])
        yield number + 1


def fuzz_conversations(count: int, seed: int, crashes: Crashes) -> Iterator[int]:
    """Conversations of a session, of a feed keeper, and of one that nothing is refused to."""
    kinds = (session_conversation, keeper_conversation, unrefused_conversation)
    for number in range(count):
        conversation = kinds[number % len(kinds)]
        random.seed(seed + number)  # the client's own jitter
        try:
            conversation(random.Random(seed + number))
        except Exception as error:
            crashes.add(error, f"{conversation.__name__}(random.Random({seed + number}))")
        yield number + 1


def session_conversation(chance: random.Random) -> None:
    """A session's conversation."""
    world = SessionWorld(authenticated=chance.random() < 0.5)
    for _ in range(chance.randrange(_STEPS)):
        chance.choice(session_world.random_steps(world, chance))()
        world.go_on()
    world.settle()


def keeper_conversation(chance: random.Random) -> None:
    """A feed keeper's conversation."""
    _keeper_conversation(KeeperWorld(), chance)


def unrefused_conversation(chance: random.Random) -> None:
    """A feed keeper's conversation in which nothing is refused."""
    _keeper_conversation(KeeperWorld(refuses=False), chance)


def _keeper_conversation(world: KeeperWorld, chance: random.Random) -> None:
    try:
        for _ in range(chance.randrange(_STEPS)):
            chance.choice(keeper_world.random_steps(world, chance))()
            world.go_on()
        world.settle()
    finally:
        world.close()


def run(what: str, work: Callable[[Crashes], Iterator[int]]) -> bool:
    """Do some fuzzing and print its counts; whether all went well."""
    crashes = Crashes()
    started = time.monotonic()
    done = 0
    for done in work(crashes):
        if done % 100_000 == 0:
            print(f"{done:9,} {what} …", file=sys.stderr)
    seconds = time.monotonic() - started
    print(f"{done:9,} {what} in {seconds:.0f} s: {crashes.counts.total():,} crashes")
    crashes.print()
    return not crashes.counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=1_000_000, help="how many (%(default)s)")
    parser.add_argument("--conversations", type=int, default=20_000, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of chance (%(default)s)")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    chance = random.Random(options.seed)
    results = [
        run("frames", lambda crashes: fuzz_frames(options.frames, chance, crashes)),
        run(
            "conversations",
            lambda crashes: fuzz_conversations(options.conversations, options.seed, crashes),
        ),
    ]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
