from __future__ import annotations

from directus_realtime.client.client_subscription import SeenItems


def test_only_what_was_seen_can_leave() -> None:
    seen = SeenItems(is_filtered=True)
    assert seen.takes("create", 1)
    assert seen.takes("update", 2)
    assert seen.removes(1)
    assert not seen.removes(1)
    assert not seen.removes(3)
    assert 2 in seen


def test_without_a_load_every_delete_counts() -> None:
    seen = SeenItems(is_filtered=True)
    assert seen.takes("delete", 1)


def test_after_a_load_only_deletes_of_what_was_seen() -> None:
    seen = SeenItems(is_filtered=True)
    seen.takes("create", 1)
    seen.load_begins()
    seen.takes("update", 2)
    assert seen.takes("delete", 9)
    seen.load_ends()
    assert seen.takes("delete", 1)
    assert seen.takes("delete", 2)
    assert not seen.takes("delete", 2)
    assert not seen.takes("delete", 9)


def test_after_a_gap_it_is_not_known_what_is_in_the_filter() -> None:
    seen = SeenItems(is_filtered=True)
    seen.load_begins()
    seen.load_ends()
    seen.gap()
    assert seen.takes("delete", 9)


def test_a_load_with_a_gap_in_it_does_not_count() -> None:
    seen = SeenItems(is_filtered=True)
    seen.load_begins()
    seen.gap()
    seen.load_ends()
    assert seen.takes("delete", 9)


def test_keys_are_kept_only_where_they_are_of_use() -> None:
    seen = SeenItems(is_filtered=False)
    seen.takes("create", 1)
    assert 1 not in seen
    seen.load_begins()
    seen.takes("create", 2)
    assert 2 in seen
