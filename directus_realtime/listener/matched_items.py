"""The items that match the filter of a subscription, remembered from event to event.

Directus reports the deletes of all items, whatever the filter, and does not report that an item
leaves the filter. The follower reads which items do not match now; the table of matched items
tells whether they did before, and whether a deleted one did.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from django.db import transaction
from django.db.models import QuerySet

from directus_realtime.database import grouped, own_alias
from directus_realtime.events import Key
from directus_realtime.listener.inbox_entry import InboxEntry, Memory
from directus_realtime.models import DirectusSubscription, MatchedItem, key_as_json

_Remembered = tuple[int, str]


def judge(entries: Sequence[InboxEntry]) -> list[InboxEntry]:
    """Drop deletes and leavings of items that did not match, and update the matched items.

    Call it in the transaction that stores the result. It may run twice for the same entries:
    those that it drops only the second time were stored the first time.
    """
    judged = [entry for entry in entries if entry.memory is not None]
    if not judged:
        return list(entries)
    known = _known(judged)
    before = _remembered(judged)
    now = set(before)
    kept = [entry for entry in entries if _is_for_its_subscription(entry, now, known)]
    _forget(before - now)
    keys = {_item(entry): entry.row.key_json for entry in judged}
    _remember({item: keys[item] for item in now - before})
    return kept


def _is_for_its_subscription(
    entry: InboxEntry, inside: set[_Remembered], known: dict[int, str]
) -> bool:
    """Return whether an event is to be delivered, and update whether its item matches."""
    row, memory = entry.row, entry.memory
    if memory is None or memory.subscription_id not in known:
        return True
    item = _item(entry)
    if row.action != "delete" and not row.left_filter:
        inside.add(item)
        return True
    if item in inside:
        inside.discard(item)
        return True
    is_complete = known[memory.subscription_id] == memory.matched_of
    return row.action == "delete" and not is_complete


def inside(memory: Memory, keys: Iterable[Key]) -> set[Key]:
    """Return the items that may have matched before: all of them where that is not known yet."""
    keys = list(keys)
    if not _rows(memory).filter(matched_of=memory.matched_of).exists():
        return set(keys)
    by_digest = {digest(key): key for key in keys}
    rows = MatchedItem.objects.filter(
        subscription_id=memory.subscription_id, digest__in=list(by_digest)
    )
    return {by_digest[found] for found in rows.values_list("digest", flat=True)}


def digest(key: Key) -> str:
    """Return the digest of a key."""
    return hashlib.sha256(str(key).encode("utf-8", "surrogatepass")).hexdigest()


def _item(entry: InboxEntry) -> _Remembered:
    return entry.memory.subscription_id if entry.memory else 0, digest(entry.row.key)


def _remembered(entries: Iterable[InboxEntry]) -> set[_Remembered]:
    items = [_item(entry) for entry in entries]
    return {
        item for rows in _rows_of(items) for item in rows.values_list("subscription_id", "digest")
    }


def _known(entries: Iterable[InboxEntry]) -> dict[int, str]:
    """Return the digest of the completely matched filter of each subscription that exists."""
    ids = {entry.memory.subscription_id for entry in entries if entry.memory is not None}
    rows = DirectusSubscription.objects.filter(pk__in=ids)
    return dict(rows.values_list("pk", "matched_of"))


def _remember(items: Mapping[_Remembered, str]) -> None:
    """Remember items, each with its key in JSON."""
    rows = [
        MatchedItem(subscription_id=number, digest=each, key_json=key_json)
        for (number, each), key_json in items.items()
    ]
    MatchedItem.objects.bulk_create(rows, ignore_conflicts=True, batch_size=500)


def _forget(items: Iterable[_Remembered]) -> None:
    for rows in _rows_of(items):
        rows.delete()


def _rows_of(items: Iterable[_Remembered]) -> list[QuerySet[MatchedItem]]:
    """Return the rows of some items, one queryset for each subscription."""
    return [
        MatchedItem.objects.filter(subscription_id=number, digest__in=digests)
        for number, digests in grouped(items).items()
    ]


# The first read of all items that match


def begin(memory: Memory) -> None:
    """Delete the matched items of another filter."""
    with transaction.atomic(own_alias()):
        if _rows(memory).filter(matched_of=memory.incomplete).exists():
            return
        MatchedItem.objects.filter(subscription_id=memory.subscription_id).delete()
        _rows(memory).update(matched_of="")


def remember_page(memory: Memory, keys: Iterable[Key]) -> None:
    """Remember a page of items that match."""
    with transaction.atomic(own_alias()):
        if _rows(memory).exists():
            number = memory.subscription_id
            items = {(number, digest(key)): key_as_json(key) for key in keys}
            for rows in _rows_of(items):
                rows.filter(key_json="").delete()
            _remember(items)


def complete(memory: Memory) -> None:
    """Note that all items that match are remembered."""
    _rows(memory).update(matched_of=memory.matched_of)


def _rows(memory: Memory) -> QuerySet[DirectusSubscription]:
    return DirectusSubscription.objects.filter(pk=memory.subscription_id)
