"""The lease: of two or more listeners, one is active.

A row for each connection says who has it, with a fencing token that grows with each change
of hands. No clocks of machines are compared: the holder keeps raising a number, and whoever
stands by watches whether it stands still, by a clock of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q

from directus_realtime.database import own_alias
from directus_realtime.exceptions import LeaseLost
from directus_realtime.models import ListenerLease

#: Seconds between two renewals.
RENEW_INTERVAL = 2.0
#: Seconds without a renewal after which whoever stands by takes over.
STANDSTILL = 6.0
#: Seconds between two looks of whoever stands by.
POLL_INTERVAL = 0.5
#: Seconds between two looks after which the watch begins anew: the database was away, or
#: the one that watches was paused, and neither says anything about the holder.
_BLINK = 3.0


@dataclass(frozen=True)
class Lease:
    """A row of :class:`ListenerLease`, as it was seen."""

    alias: str
    holder: UUID | None
    token: int
    beat: int


def look(aliases: Collection[str]) -> list[Lease]:
    """The leases of connections, in order; those that were never had are made."""
    leases = _read(aliases)
    if missing := set(aliases) - {lease.alias for lease in leases}:
        new = [ListenerLease(alias=alias) for alias in sorted(missing)]
        ListenerLease.objects.bulk_create(new, ignore_conflicts=True)
        leases = _read(aliases)
    return leases


def _read(aliases: Collection[str]) -> list[Lease]:
    rows = ListenerLease.objects.filter(alias__in=aliases).order_by("alias")
    return [Lease(row.alias, row.holder, row.token, row.beat) for row in rows]


def take(leases: Iterable[Lease], holder: UUID) -> Fence | None:
    """Take leases, all or none, if they still are as they were seen.

    Args:
        leases: In the order of their aliases, so that two who take cannot lock each other.
        holder: Who takes them.

    Returns:
        The fence of the new holder; ``None`` where somebody was faster.
    """
    tokens = {}
    holders = {None, holder}
    try:
        with transaction.atomic(own_alias()):
            for lease in leases:
                _take(lease, holder)
                tokens[lease.alias] = lease.token + 1
                holders.add(lease.holder)
    except LeaseLost:
        return None
    return Fence(holder, tokens, after_crash=holders != {None, holder})


def _take(lease: Lease, holder: UUID) -> None:
    as_seen = ListenerLease.objects.filter(alias=lease.alias, token=lease.token, beat=lease.beat)
    if not as_seen.update(holder=holder, token=F("token") + 1, beat=0):
        raise LeaseLost([lease.alias])


def release(aliases: Collection[str], holder: UUID) -> None:
    """Give up what a holder still has, so that whoever stands by need not wait."""
    ListenerLease.objects.filter(alias__in=aliases, holder=holder).update(holder=None)


class Fence:
    """What an active listener has: its leases, by their fencing tokens.

    Args:
        holder: The listener.
        tokens: Fencing tokens, by alias.
        after_crash: Whether the holder before has not given them up: it was killed, or hangs.
    """

    def __init__(
        self, holder: UUID, tokens: Mapping[str, int], *, after_crash: bool = False
    ) -> None:
        self.tokens = dict(tokens)
        self.after_crash = after_crash
        self._holder = holder

    def __str__(self) -> str:
        if len(self.tokens) == 1:
            return str(*self.tokens.values())
        return ", ".join(f"{token} ({alias})" for alias, token in self.tokens.items())

    def check(self) -> None:
        """Make sure that the leases are still had; to be called in a transaction that writes.

        Raises:
            LeaseLost: Another listener has taken one.
        """
        rows = ListenerLease.objects.filter(alias__in=list(self.tokens), holder=self._holder)
        held = dict(rows.values_list("alias", "token"))
        if held != self.tokens:
            raise LeaseLost([a for a, token in self.tokens.items() if held.get(a) != token])

    def renew(self) -> None:
        """Say that the holder is alive.

        One statement, which the database commits by itself: a holder that is paused in the
        middle of a transaction would keep the row locked against whoever takes over.

        Raises:
            LeaseLost: Another listener has taken a lease.
        """
        own = Q()
        for alias, token in self.tokens.items():
            own |= Q(alias=alias, token=token, holder=self._holder)
        if ListenerLease.objects.filter(own).update(beat=F("beat") + 1) < len(self.tokens):
            self.check()


class Watch:
    """Judges which leases may be taken, from what it sees and from its own clock.

    Args:
        me: The listener that would take them.
        may_be_first: Whether it may take what nobody has had before its eyes.
        clock: Gives seconds.
    """

    def __init__(
        self, me: UUID, *, may_be_first: bool = True, clock: Callable[[], float] = monotonic
    ) -> None:
        self._me = me
        self._may_be_first = may_be_first
        self._clock = clock
        self._looked_at = clock()
        self._unchanged: dict[str, tuple[Lease, float]] = {}
        self._seen_held: set[str] = set()

    def may_take(self, leases: Iterable[Lease], dead: Collection[UUID]) -> bool:
        """Whether all of these leases may be taken; call it at least once a second.

        Args:
            leases: As they are seen now.
            dead: Holders that are known to be dead.
        """
        now = self._clock()
        if now - self._looked_at > _BLINK:
            self._unchanged.clear()
        self._looked_at = now
        # All of them are looked at, even where one is not to be had.
        verdicts = [self._is_to_be_had(lease, dead, now) for lease in leases]
        return all(verdicts)

    def _is_to_be_had(self, lease: Lease, dead: Collection[UUID], now: float) -> bool:
        since = self._unchanged_since(lease, now)
        if lease.holder is None:
            return self._may_be_first or lease.alias in self._seen_held
        self._seen_held.add(lease.alias)
        # What is ours already was taken by a commit whose answer got lost.
        return lease.holder == self._me or lease.holder in dead or now - since >= STANDSTILL

    def _unchanged_since(self, lease: Lease, now: float) -> float:
        known, since = self._unchanged.get(lease.alias, (None, now))
        if known != lease:
            since = now
        self._unchanged[lease.alias] = lease, since
        return since
