from __future__ import annotations

from directus_realtime.client import feed
from directus_realtime.client.feed import Tombstones


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_key_is_gone_for_a_while() -> None:
    clock = Clock()
    gone = Tombstones(clock)
    gone.add(1)
    clock.now += feed.SECONDS - 1
    assert 1 in gone
    assert "1" not in gone
    clock.now += 1
    assert 1 not in gone


def test_what_is_there_again_is_not_gone() -> None:
    gone = Tombstones()
    gone.add(1)
    gone.discard(1)
    gone.discard(2)
    assert 1 not in gone


def test_what_is_gone_again_counts_from_then() -> None:
    clock = Clock()
    gone = Tombstones(clock)
    gone.add(1)
    clock.now += feed.SECONDS - 1
    gone.add(1)
    clock.now += 2
    gone.add(2)
    assert 1 in gone


def test_old_keys_take_no_room() -> None:
    clock = Clock()
    gone = Tombstones(clock)
    gone.add(1)
    clock.now += feed.SECONDS
    gone.add(2)
    assert len(gone) == 1


def test_so_many_keys_and_no_more() -> None:
    gone = Tombstones(Clock())
    for key in range(feed.LIMIT + 5):
        gone.add(key)
    assert len(gone) == feed.LIMIT
    assert 4 not in gone
    assert 5 in gone
