"""The mistakes, each as a replacement of a part of the product at run time."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any
from unittest import mock

from django.db import Error, transaction

from directus_realtime.client import log_position
from directus_realtime.client.rest import RestClient, filtered_by_keys
from directus_realtime.database import own_alias
from directus_realtime.listener import debounce, inbox
from directus_realtime.listener.delivery import batches, delivery_queue
from directus_realtime.listener.delivery.batches import BatchRunner
from directus_realtime.listener.delivery.delivery import Delivery
from directus_realtime.listener.delivery.receiver_calls import Job
from directus_realtime.listener.delivery.shared_transaction import SharedTransaction
from directus_realtime.listener.follower import event_builder, log_cursor
from directus_realtime.listener.follower.event_builder import EventBuilder
from directus_realtime.listener.follower.followed_subscription import Place
from directus_realtime.listener.follower.follower import Follower
from directus_realtime.listener.follower.log_cursor import LogCursor
from directus_realtime.listener.standby.lease import Fence, LeaseWatch
from tests.simulation import clock
from tests.simulation.mutants import Mutant

Install = Callable[[], contextlib.AbstractContextManager[None]]


def _replaced(*places: tuple[Any, str, Any]) -> Install:
    """Return what replaces attributes for the time of a block."""

    @contextlib.contextmanager
    def install() -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for owner, name, value in places:
                stack.enter_context(mock.patch.object(owner, name, value))
            yield

    return install


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Leave something out."""


# Reading

_process = Follower._process

_take = log_position.Position.take


def _take_without_holes(self: Any, ids: Any, rows: Any, now: float) -> None:
    _take(self, ids, rows, now)
    self._holes = []


async def _search_by_plain_get(
    self: Any, path: str, query: Any = None, *, keys: Any = None, key_field: str = "id"
) -> Any:
    asked = dict(query or {})
    if keys is not None:
        asked = filtered_by_keys(asked, key_field, list(keys))
    return await self.request("GET", path, asked)


def _due_and_recorded(self: Any, now: float) -> Any:
    found = _due(self, now)
    self.record_query(found, now)
    return found


_due = log_position.Position.due


async def _restore_at_the_end(self: Any, log: Any, newest: Any, subscriptions: Any) -> None:
    top = newest.id if newest else 0
    self.position = log_position.Position(top)
    self._is_restored = True


def _stale_reader() -> Install:
    """Return what reads an item once and remembers it for some time."""

    @contextlib.contextmanager
    def install() -> Iterator[None]:
        read_one = EventBuilder._read_one
        known: dict[tuple[str, Any], tuple[float, Any]] = {}

        async def remembering(self: Any, reading: Any, built: Any) -> None:
            await read_one(self, reading, built)
            now = self._clock.monotonic()
            rows = reading.items.rows
            for key in list(rows):
                place = reading.query.fingerprint(), key
                at, item = known.setdefault(place, (now, rows[key]))
                if now - at > 20 or now < at:
                    known[place] = now, rows[key]
                else:
                    rows[key] = item

        with mock.patch.object(EventBuilder, "_read_one", remembering):
            yield

    return install


def _make_present_or_delete(self: Any, draft: Any, built: Any) -> None:
    reading = draft.reading
    key = reading.spelled(draft.key)
    if key in reading.gone or key in reading.items.unreadable:
        self._put(replace(draft, key=key), "delete", None, built)
    else:
        _make_present(self, draft, built)


_make_present = EventBuilder._make_present


def _take_when_processed(self: Any, ids: Any, rows: Any, now: float) -> None:
    _take(self, ids, rows, clock.now().timestamp())


def _claims_now(self: Any, read_at: float) -> float:
    return read_at


_ring = Follower.ring


def _believe_ring(self: Any, ring: Any) -> None:
    _ring(self, ring)
    believed = self.__dict__.setdefault("_believed", set())
    believed.update((ring.collection, str(key)) for key in ring.keys)


async def _process_what_did_not_ring(self: Any, rows: Any, *asked: Any) -> None:
    believed = self.__dict__.get("_believed", set())
    kept = [row for row in rows if (row.collection, row.item) not in believed]
    believed.difference_update({(row.collection, row.item) for row in rows})
    await _process(self, kept, *asked)


# Storing


def _store_in_pieces(
    entries: Any, fence: Any, fresh: Any, clock: Any, functions: Sequence[Any] = ()
) -> Any:
    if functions:
        with transaction.atomic(own_alias()):
            for function in functions:
                function()
            fence()
    return _store(entries, fence, fresh, clock)


_store = inbox._store


def _random_id(*args: Any) -> str:
    return str(uuid.uuid4())


_put_event = EventBuilder._put


def _put_replayed_as_first(self: Any, draft: Any, *args: Any, **kwargs: Any) -> None:
    origin = "catch-up" if draft.origin == "replay" else draft.origin
    _put_event(self, replace(draft, origin=origin), *args, **kwargs)


# Delivery


def _run_in_pieces(self: Any, jobs: Any, held: Any = ()) -> Any:
    batch = batches._Batch()
    batch.outcomes.held += held
    try:
        with batches.shared_transaction(own_alias()) as shared:
            self._call(jobs, shared, batch)
            batch.outcomes.released = self.blocked.released_by(batch.outcomes)
        with transaction.atomic(own_alias()):
            delivery_queue.write(batch.outcomes, self._clock.now())
            self._fence()
    except Error as error:
        if not batch.calls:
            raise
        return self._rolled_back([*held, *jobs], batch.calls, error)
    self._committed(batch.outcomes)
    return batch.outcomes


_job_of = Job.of.__func__  # type: ignore[attr-defined]


def _job_of_all_receivers(cls: Any, row: Any, **options: Any) -> Any:
    delivered, row.delivered = row.delivered, []
    job = _job_of(cls, row, **options)
    row.delivered = delivered
    return job


def _keeps_what_it_holds(self: Any, rows: Any) -> None:
    pass


async def _page_backwards(self: Any, rows: Any, *asked: Any) -> None:
    await _process(self, list(reversed(rows)), *asked)


def _never(self: Any, *args: Any) -> bool:
    return False


def _only_if_given_up(self: Any, lease: Any, dead: Any, now: float) -> bool:
    return lease.holder is None or lease.holder == self._me


MUTANTS = (
    Mutant(
        "the fence is left out",
        frozenset({"fence", "twice", "order", "effects"}),
        _replaced((Fence, "check", _nothing)),
        ("freeze", "database-away"),
    ),
    Mutant(
        "receivers are marked outside of their transaction",
        frozenset({"twice", "effects"}),
        _replaced((BatchRunner, "run", _run_in_pieces)),
        ("database", "crash"),
    ),
    Mutant(
        "holes are forgotten",
        frozenset({"lost", "claim"}),
        _replaced((log_position.Position, "take", _take_without_holes)),
    ),
    Mutant(
        "a hole counts as read where its query failed",
        frozenset({"claim", "lost"}),
        _replaced((log_position.Position, "due", _due_and_recorded)),
        ("garbled", "answers", "directus-frozen", "network"),
        pace=12.0,
    ),
    Mutant(
        "a hole counts as read when its page was processed",
        frozenset({"claim"}),
        _replaced((log_position.Position, "take", _take_when_processed)),
        ("directus-slow",),
    ),
    Mutant(
        "a late row does not come before a later one",
        frozenset({"order"}),
        _replaced((Follower, "_late_rows", mock.AsyncMock(return_value=()))),
    ),
    Mutant(
        "the cache is believed",
        frozenset({"lost", "claim", "state", "stuck", "order"}),
        _replaced((RestClient, "search", _search_by_plain_get)),
        ("cache-forgets",),
    ),
    Mutant(
        "an event on the socket is believed, early or not",
        frozenset({"lost", "claim", "state", "twice"}),
        _replaced(
            (Follower, "ring", _believe_ring), (Follower, "_process", _process_what_did_not_ring)
        ),
    ),
    Mutant(
        "items are read once and remembered",
        frozenset({"state", "order"}),
        _stale_reader(),
    ),
    Mutant(
        "parked changes are dropped",
        frozenset({"lost", "claim", "state"}),
        _replaced((EventBuilder, "_park", _nothing)),
        ("unreadable",),
    ),
    Mutant(
        "not found is taken for deleted",
        frozenset({"state", "order", "never"}),
        _replaced((EventBuilder, "_make_present", _make_present_or_delete)),
        ("unreadable",),
    ),
    Mutant(
        "the position is written before the events",
        frozenset({"lost", "claim", "state"}),
        _replaced((inbox, "_store", _store_in_pieces)),
        ("crash",),
    ),
    Mutant(
        "a listener begins at the end of the log",
        frozenset({"lost", "claim", "state"}),
        _replaced((LogCursor, "_restore", _restore_at_the_end)),
        ("kill", "stop"),
    ),
    Mutant(
        "what a refused subscription misses is forgotten",
        frozenset({"lost", "claim", "state"}),
        _replaced((Place, "leave_out", _nothing)),
        ("rights-lost",),
    ),
    Mutant(
        "the log counts as read in spite of holes",
        frozenset({"claim"}),
        _replaced((log_position.Position, "complete_until", _claims_now)),
        pace=12.0,
    ),
    Mutant(
        "event ids are random",
        frozenset({"twice"}),
        _replaced((event_builder, "event_id", _random_id)),
        ("database",),
    ),
    Mutant(
        "a replay makes the events of the first time",
        frozenset({"replay"}),
        _replaced((EventBuilder, "_put", _put_replayed_as_first)),
        ("replay",),
    ),
    Mutant(
        "a retry calls every receiver again",
        frozenset({"twice", "effects"}),
        _replaced((Job, "of", classmethod(_job_of_all_receivers))),
        ("receiver",),
    ),
    Mutant(
        "later events of a failed item are not held",
        frozenset({"order", "state"}),
        _replaced(
            (Delivery, "_is_held", _never), (delivery_queue.BlockedItems, "__contains__", _never)
        ),
        ("receiver",),
    ),
    Mutant(
        "what a failed receiver wrote is kept",
        frozenset({"twice", "effects"}),
        _replaced((SharedTransaction, "_undo", _nothing)),
        ("receiver",),
    ),
    Mutant(
        "rows of a broken transaction are delivered from memory",
        frozenset({"effects", "never", "twice", "stuck", "crash", "lost"}),
        _replaced((inbox.FreshRows, "remove", _keeps_what_it_holds)),
        ("database",),
    ),
    Mutant(
        "debounced states overtake nothing",
        frozenset({"order", "state"}),
        _replaced((debounce._OpenWindows, "write", _nothing)),
    ),
    Mutant(
        "a lease never expires",
        frozenset({"lost", "stuck"}),
        _replaced((LeaseWatch, "_is_available", _only_if_given_up)),
        ("kill",),
    ),
    Mutant(
        "a page of the log is taken backwards",
        frozenset({"order", "lost", "claim", "state"}),
        _replaced((Follower, "_process", _page_backwards)),
    ),
    Mutant(
        "a new listener does not compare the log",
        frozenset({"silent", "lost"}),
        _replaced(
            (
                log_cursor,
                "compare_continuity",
                mock.AsyncMock(return_value=log_cursor.Continuity.SAME),
            )
        ),
        ("log-pruned", "kill", "directus-down"),
    ),
)
