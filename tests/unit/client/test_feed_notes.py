from __future__ import annotations

from directus_realtime.client.feed import Feed
from directus_realtime.protocol.queries import Query


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
