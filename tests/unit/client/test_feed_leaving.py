from __future__ import annotations

from directus_realtime.client.feed import Leaving


def test_a_change_without_a_message_with_the_filter_is_suspicious() -> None:
    leaving = Leaving()
    leaving.changed(1)
    leaving.end_window()
    assert list(leaving.suspects) == [1]


def test_a_change_that_was_reported_is_not() -> None:
    leaving = Leaving()
    for key in (1, 2):
        leaving.reported(key)
        leaving.changed(key)
    leaving.end_window()
    assert leaving.is_idle


def test_of_two_changes_one_was_not_reported() -> None:
    leaving = Leaving()
    leaving.reported(1)
    leaving.changed(1)
    leaving.changed(1)
    leaving.end_window()
    assert list(leaving.suspects) == [1]


def test_the_other_half_may_come_in_the_next_window() -> None:
    leaving = Leaving()
    leaving.reported(1)
    leaving.end_window()
    leaving.changed(1)
    leaving.end_window()
    assert leaving.is_idle


def test_the_other_half_is_not_waited_for_any_longer() -> None:
    leaving = Leaving()
    leaving.reported(1)
    leaving.end_window()
    leaving.end_window()
    assert leaving.is_idle
    leaving.changed(1)
    leaving.end_window()
    assert list(leaving.suspects) == [1]


def test_what_is_deleted_leaves_nothing() -> None:
    leaving = Leaving()
    leaving.changed(1)
    leaving.changed(2)
    leaving.end_window()
    leaving.changed(2)
    leaving.deleted(1)
    leaving.deleted(2)
    assert leaving.is_idle


def test_after_a_gap_nothing_is_waited_for_and_suspects_are_kept() -> None:
    leaving = Leaving()
    leaving.reported(1)
    leaving.changed(2)
    leaving.gap()
    leaving.changed(1)
    leaving.end_window()
    assert list(leaving.suspects) == [2, 1]
