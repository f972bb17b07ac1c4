from __future__ import annotations

from directus_realtime.client.feed import ENDED_LIMIT, LATE_AFTER_END, Feed
from directus_realtime.protocol.queries import Query
from tests.helpers.manual_clock import ManualClock


def test_what_is_handed_over_after_a_check_is_noted_as_what_came() -> None:
    """Its message came before; what is read meanwhile may be older all the same."""
    feed = Feed("a", Query("articles"))
    with feed.noting_changes() as changed:
        feed.receive_current("update", 1, {"id": 1})
        feed.receive("update", [{"id": 2}])
    feed.receive("update", [{"id": 3}])
    assert changed == {1, 2}


def test_notes_of_several_readers_are_apart() -> None:
    feed = Feed("a", Query("articles"))
    with feed.noting_changes() as first:
        feed.receive("update", [{"id": 1}])
        with feed.noting_changes() as second:
            feed.receive("update", [{"id": 2}])
    assert (first, second) == ({1, 2}, {2})


def test_a_deleted_key_is_remembered_for_a_while() -> None:
    clock = ManualClock()
    feed = Feed("a", Query("articles"), clock)
    feed.receive("delete", ["1", "2"])
    clock.advance(LATE_AFTER_END - 1)
    feed.receive("update", [{"id": "1"}])
    assert feed.late == {"1": "update"}
    clock.advance(1)
    feed.receive("update", [{"id": "2"}])
    assert feed.late == {"1": "update"}


def test_a_key_that_is_deleted_again_counts_from_then() -> None:
    clock = ManualClock()
    feed = Feed("a", Query("articles"), clock)
    feed.receive("delete", ["1"])
    clock.advance(LATE_AFTER_END - 1)
    feed.receive("delete", ["1"])
    clock.advance(2)
    feed.receive("create", [{"id": "1"}])
    assert feed.late == {"1": "create"}


def test_an_item_that_exists_again_is_not_late() -> None:
    feed = Feed("a", Query("articles"), ManualClock())
    feed.receive("delete", ["1"])
    feed.receive_current("create", "1", {"id": "1"})
    feed.receive("update", [{"id": "1"}])
    assert feed.late == {}


def test_the_number_of_remembered_keys_is_limited() -> None:
    feed = Feed("a", Query("articles"), ManualClock())
    feed.receive("delete", [str(key) for key in range(ENDED_LIMIT + 5)])
    feed.receive("update", [{"id": str(key)} for key in (4, 5)])
    assert feed.late == {"5": "update"}
