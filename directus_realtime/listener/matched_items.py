"""Which items are in the filter of a subscription, remembered from event to event.

Directus sends the deletes of all items, whatever the filter says, and says nothing of an
item that leaves the filter. The client finds out which items are not in the filter now;
whether they were before, and whether a deleted one was, is known here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from django.db import transaction
from django.db.models import QuerySet

from directus_realtime.database import own_alias
from directus_realtime.events import Key
from directus_realtime.listener.inbox_entry import InboxEntry, Memory
from directus_realtime.models import DirectusSubscription, MatchedItem

#: Rows of one statement.
_CHUNK = 500

_Remembered = tuple[int, str]


def judge(incoming: Iterable[InboxEntry]) -> list[InboxEntry]:
    """Leave out deletes and leavings of items that were not in the filter, and remember.

    Call it in the transaction that stores what is left. It may run twice for the same
    rows: what is left out the second time was stored the first time.
    """
    entries = list(incoming)
    judged = [entry for entry in entries if entry.memory is not None]
    if not judged:
        return entries
    known = _known(judged)
    before = _remembered(judged)
    now = set(before)
    kept = [entry for entry in entries if _is_for_its_subscription(entry, now, known)]
    _forget(before - now)
    _remember(now - before)
    return kept


def _is_for_its_subscription(
    entry: InboxEntry, inside: set[_Remembered], known: dict[int, str]
) -> bool:
    """Whether an event is to be delivered; what it says of its item is noted."""
    row, memory = entry.row, entry.memory
    if memory is None or memory.subscription_id not in known:
        return True
    item = memory.subscription_id, digest(row.key)
    if row.action != "delete" and not row.left_filter:
        inside.add(item)
        return True
    if item in inside:
        inside.discard(item)
        return True
    is_complete = known[memory.subscription_id] == memory.matched_of
    return row.action == "delete" and not is_complete


def inside(memory: Memory, keys: Iterable[Key]) -> set[Key]:
    """Return those of some items that may have been in the filter before.

    Where the items in the filter are not all known yet, these are all.
    """
    keys = list(keys)
    if not _rows(memory).filter(matched_of=memory.matched_of).exists():
        return set(keys)
    by_digest = {digest(key): key for key in keys}
    rows = MatchedItem.objects.filter(
        subscription_id=memory.subscription_id, digest__in=list(by_digest)
    )
    return {by_digest[found] for found in rows.values_list("digest", flat=True)}


def digest(key: Key) -> str:
    """A key as it is remembered."""
    return hashlib.sha256(str(key).encode("utf-8", "surrogatepass")).hexdigest()


def _remembered(entries: Iterable[InboxEntry]) -> set[_Remembered]:
    by_subscription: dict[int, list[str]] = {}
    for entry in entries:
        if entry.memory is not None:
            keys = by_subscription.setdefault(entry.memory.subscription_id, [])
            keys.append(digest(entry.row.key))
    found: set[_Remembered] = set()
    for subscription_id, keys in by_subscription.items():
        rows = MatchedItem.objects.filter(subscription_id=subscription_id, digest__in=keys)
        found.update(rows.values_list("subscription_id", "digest"))
    return found


def _known(entries: Iterable[InboxEntry]) -> dict[int, str]:
    """The subscriptions that have not been deleted meanwhile.

    Returns:
        By primary key, the filter of which all items are remembered.
    """
    ids = {entry.memory.subscription_id for entry in entries if entry.memory is not None}
    rows = DirectusSubscription.objects.filter(pk__in=ids)
    return dict(rows.values_list("pk", "matched_of"))


def _remember(items: Iterable[_Remembered]) -> None:
    rows = [MatchedItem(subscription_id=number, digest=each) for number, each in items]
    MatchedItem.objects.bulk_create(rows, ignore_conflicts=True, batch_size=_CHUNK)


def _forget(items: Iterable[_Remembered]) -> None:
    by_subscription: dict[int, list[str]] = {}
    for number, each in items:
        by_subscription.setdefault(number, []).append(each)
    for number, keys in by_subscription.items():
        MatchedItem.objects.filter(subscription_id=number, digest__in=keys).delete()


# The first look at all items that match


def begin(memory: Memory) -> None:
    """Forget what was remembered of another filter."""
    with transaction.atomic(own_alias()):
        if _rows(memory).filter(matched_of=memory.incomplete).exists():
            return
        MatchedItem.objects.filter(subscription_id=memory.subscription_id).delete()
        _rows(memory).update(matched_of="")


def remember_page(memory: Memory, keys: Iterable[Key]) -> None:
    """Remember some items that match."""
    with transaction.atomic(own_alias()):
        if _rows(memory).exists():
            _remember((memory.subscription_id, digest(key)) for key in keys)


def complete(memory: Memory) -> None:
    """Say that all items that match are remembered."""
    _rows(memory).update(matched_of=memory.matched_of)


def _rows(memory: Memory) -> QuerySet[DirectusSubscription]:
    return DirectusSubscription.objects.filter(pk=memory.subscription_id)
