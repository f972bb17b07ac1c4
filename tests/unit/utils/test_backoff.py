from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from directus_realtime.utils.backoff import Backoff, full_jitter
from tests.helpers.manual_clock import ManualClock


def test_each_delay_is_below_a_ceiling_that_grows_up_to_a_bound() -> None:
    ceilings = [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    for _ in range(200):
        delays = list(islice(full_jitter(), 9))
        assert all(0 <= delay <= limit for delay, limit in zip(delays, ceilings, strict=True))


def test_the_whole_range_is_drawn_from() -> None:
    drawn = [list(islice(full_jitter(base=1, factor=2, ceiling=4), 4))[-1] for _ in range(500)]
    assert min(drawn) < 0.4
    assert max(drawn) > 3.6


def test_never_ends_and_never_overflows() -> None:
    assert next(islice(full_jitter(), 100_000, None)) <= 30


def test_two_clients_do_not_draw_the_same() -> None:
    assert list(islice(full_jitter(), 5)) != list(islice(full_jitter(), 5))


def _growing() -> Iterator[float]:
    return iter([1.0, 2.0, 3.0])


def test_delays_grow_until_a_connection_was_stable() -> None:
    clock = ManualClock()
    backoff = Backoff(_growing, 1000, clock)
    connected_at = clock.monotonic()
    assert [backoff.next_delay(None), backoff.next_delay(connected_at)] == [1, 2]
    clock.advance(1000)
    assert backoff.next_delay(connected_at) == 1


def test_delays_that_end_are_continued_with_the_last_one() -> None:
    backoff = Backoff(_growing, 1000, ManualClock())
    assert [backoff.next_delay(None) for _ in range(5)] == [1, 2, 3, 3, 3]
