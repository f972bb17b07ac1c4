"""Looks in the inbox for events whose group messages were lost.

Channels delivers a group message at most once: while Redis is away, or a channel is over its
capacity (that of the inbox's own layer as well), browsers would miss events and nobody would
notice. The inbox has them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from django.db.models import QuerySet

from directus_realtime.gateway.frames import Json
from directus_realtime.gateway.missed_events import messages
from directus_realtime.models import InboxEvent, InboxState

#: Rows of one query, and queries of one look at a connection: the rest waits for the next.
_BATCH, _BATCHES = 1000, 5
_UNSENT = {InboxState.PENDING, InboxState.DELIVERING}
#: Never sent as they are: one waits for the catch-up, and is let go as a new row.
_PASSED_BY = {InboxState.MERGED}


@dataclass(frozen=True, slots=True)
class Sent:
    """A row of the inbox that was sent to its groups.

    Attributes:
        item: Equal for the events of one item in one subscription.
    """

    pk: int
    event_id: str
    item: tuple[str, str]


class InboxSweep:
    """Follows what was sent to groups; every method uses the database."""

    def __init__(self) -> None:
        self._last_ids: dict[str, int] = {}
        self._late: set[int] = set()

    def begin(self, aliases: Iterable[str]) -> None:
        """Follow some connections from now on, except those that are followed already."""
        for alias in aliases:
            if alias not in self._last_ids:
                rows = InboxEvent.objects.filter(connection=alias)
                sent = rows.filter(sent_at__isnull=False).order_by("-id")
                newest = sent.values_list("pk", flat=True).first() or 0
                late = rows.filter(state__in=_UNSENT, sent_at=None, id__lt=newest)
                self._late.update(late.values_list("pk", flat=True))
                self._last_ids[alias] = newest

    def lost(self, subscriptions: set[str], was_seen: Callable[[str], bool]) -> list[Json]:
        """What was sent since the last look and did not arrive.

        An event of an item of which a later one has arrived is left out: that one carries
        the newer state.

        Args:
            subscriptions: Names of those that anybody wants.
            was_seen: Whether the event with an id has arrived.

        Returns:
            Group messages, in order for each connection.
        """
        before = self._last_ids.copy(), self._late.copy()
        try:
            return self._lost(subscriptions, was_seen)
        except BaseException:
            self._last_ids, self._late = before  # nobody was told of what was found by now
            raise

    def _lost(self, subscriptions: set[str], was_seen: Callable[[str], bool]) -> list[Json]:
        sent = [row for alias in self._last_ids for row in self._sent(alias)]
        sent = [*self._sent_late(), *sent]
        newest_seen = {row.item: row.pk for row in sent if was_seen(row.event_id)}
        wanted = [
            row.pk
            for row in sent
            if row.item[0] in subscriptions
            and row.pk > newest_seen.get(row.item, 0)
            and not was_seen(row.event_id)
        ]
        found: list[Json] = []
        for start in range(0, len(wanted), _BATCH):
            rows = InboxEvent.objects.filter(pk__in=wanted[start : start + _BATCH])
            found += messages(rows.order_by("id"))
        return found

    def _sent(self, alias: str) -> list[Sent]:
        """What was sent of a connection. A row that waits for delivery holds back the others."""
        found: list[Sent] = []
        for _ in range(_BATCHES):
            newer = InboxEvent.objects.filter(connection=alias, id__gt=self._last_ids[alias])
            rows = list(_light(newer)[:_BATCH])
            for row in rows:
                if row.sent_at is None and row.state in _UNSENT:
                    if row.next_attempt_at is None:
                        return found
                    self._late.add(row.pk)  # until its debounce window has ended
                elif row.state not in _PASSED_BY:
                    found.append(_as_sent(row))
                self._last_ids[alias] = row.pk
            if len(rows) < _BATCH:
                break
        return found

    def _sent_late(self) -> list[Sent]:
        if not self._late:
            return []
        rows = list(_light(InboxEvent.objects.filter(pk__in=self._late)))
        sent = [row for row in rows if row.sent_at is not None or row.state not in _UNSENT]
        self._late = {row.pk for row in rows} - {row.pk for row in sent}
        return [_as_sent(row) for row in sent if row.state != InboxState.MERGED]


def _light(rows: QuerySet[InboxEvent]) -> QuerySet[InboxEvent]:
    """Rows in order, without what they carry."""
    return rows.order_by("id").only(
        "event_id", "subscription", "key_json", "state", "sent_at", "next_attempt_at"
    )


def _as_sent(row: InboxEvent) -> Sent:
    return Sent(row.pk, str(row.event_id), (row.subscription, row.key_json))
