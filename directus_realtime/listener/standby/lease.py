"""The lease: of two or more listeners of a connection, one is active.

The row of a connection has its holder, and a fencing token that grows with each new holder. No
clocks of machines are compared: the holder increments a heartbeat, and a standby checks by its
own monotonic clock whether that stands still.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q

from directus_realtime.database import own_alias
from directus_realtime.exceptions import LeaseLost
from directus_realtime.models import ListenerLease
from directus_realtime.utils.system_clock import SystemClock

#: Seconds between two renewals.
RENEW_INTERVAL = 2.0
#: Seconds without a renewal after which a standby takes over.
STANDSTILL = 6.0
#: Seconds between two polls of a standby.
POLL_INTERVAL = 0.5
#: Seconds between two polls after which the observation starts again: the database was
#: unavailable, or the standby was paused, and neither says anything about the holder.
_POLL_GAP = 3.0


class Lease(NamedTuple):
    """Snapshot of a row of :class:`ListenerLease`."""

    alias: str
    holder: UUID | None
    token: int
    beat: int


def read_leases(aliases: Collection[str]) -> list[Lease]:
    """Return the leases of connections by alias; missing rows are created."""
    rows = ListenerLease.objects.filter(alias__in=aliases).order_by("alias")
    leases = [Lease(*row) for row in rows.values_list(*Lease._fields)]
    missing = sorted(set(aliases) - {lease.alias for lease in leases})
    if not missing:
        return leases
    new = [ListenerLease(alias=alias) for alias in missing]
    ListenerLease.objects.bulk_create(new, ignore_conflicts=True)
    return [Lease(*row) for row in rows.values_list(*Lease._fields)]


def acquire(leases: Iterable[Lease], holder: UUID) -> Fence | None:
    """Acquire leases, all or none, if they are unchanged.

    Args:
        leases: Leases in the order of their aliases, so that two candidates cannot deadlock.
        holder: The new holder.

    Returns:
        Fence of the new holder; ``None`` where a lease has changed.
    """
    tokens = {}
    holders = {None, holder}
    try:
        with transaction.atomic(own_alias()):
            for lease in leases:
                unchanged = ListenerLease.objects.filter(
                    alias=lease.alias, token=lease.token, beat=lease.beat
                )
                if not unchanged.update(holder=holder, token=F("token") + 1, beat=0):
                    raise LeaseLost([lease.alias])
                tokens[lease.alias] = lease.token + 1
                holders.add(lease.holder)
    except LeaseLost:
        return None
    return Fence(holder, tokens, after_crash=holders != {None, holder})


def release(aliases: Collection[str], holder: UUID) -> None:
    """Release the leases of a holder, so that a standby takes over at once."""
    ListenerLease.objects.filter(alias__in=aliases, holder=holder).update(holder=None)


def revoke(alias: str) -> None:
    """Revoke the lease of a connection.

    A listener that is active drops what it holds in memory and acquires the lease again, as after
    a takeover. Call it in the transaction that writes what the listener is to read.

    Args:
        alias: Alias of the connection.
    """
    lease = ListenerLease.objects.filter(alias=alias)
    lease.update(holder=None, token=F("token") + 1, beat=0)


class Fence:
    """The leases of an active listener.

    Args:
        holder: The listener.
        tokens: Fencing tokens, by alias.
        after_crash: Whether the previous holder did not release them: it crashed or hangs.
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
        """Verify that the leases are still held; call it in each transaction that writes.

        Raises:
            LeaseLost: Another listener has acquired one.
        """
        rows = ListenerLease.objects.filter(alias__in=list(self.tokens), holder=self._holder)
        held = dict(rows.values_list("alias", "token"))
        if held != self.tokens:
            raise LeaseLost([a for a, token in self.tokens.items() if held.get(a) != token])

    def renew(self) -> None:
        """Increment the heartbeats of the leases.

        It is one statement, which the database commits by itself: a holder that is paused in
        the middle of a transaction would keep the row locked against a takeover.

        Raises:
            LeaseLost: Another listener has acquired a lease.
        """
        own = Q()
        for alias, token in self.tokens.items():
            own |= Q(alias=alias, token=token, holder=self._holder)
        if ListenerLease.objects.filter(own).update(beat=F("beat") + 1) < len(self.tokens):
            self.check()


class LeaseWatch:
    """Decides whether leases may be acquired, from successive snapshots of them.

    Args:
        me: The candidate.
        may_be_first: Whether it may acquire a lease without having seen another holder.
        clock: The clock.
    """

    def __init__(
        self, me: UUID, *, may_be_first: bool = True, clock: SystemClock | None = None
    ) -> None:
        self._me = me
        self._may_be_first = may_be_first
        self._clock = clock or SystemClock()
        self._polled_at = self._clock.monotonic()
        self._unchanged: dict[str, tuple[Lease, float]] = {}
        self._seen_held: set[str] = set()

    def may_acquire(self, leases: Iterable[Lease], dead: Collection[UUID]) -> bool:
        """Return whether all of these leases may be acquired; call it at least once a second.

        Args:
            leases: Present leases.
            dead: Holders whose process has ended.
        """
        now = self._clock.monotonic()
        if now - self._polled_at > _POLL_GAP:
            self._unchanged.clear()
        self._polled_at = now
        # Every lease is observed, even where one is not available.
        verdicts = [self._is_available(lease, dead, now) for lease in leases]
        return all(verdicts)

    def _is_available(self, lease: Lease, dead: Collection[UUID], now: float) -> bool:
        known, since = self._unchanged.get(lease.alias, (None, now))
        if known != lease:
            since = now
        self._unchanged[lease.alias] = lease, since
        if lease.holder is None:
            return self._may_be_first or lease.alias in self._seen_held
        self._seen_held.add(lease.alias)
        # An own lease was acquired by a commit whose answer got lost.
        return lease.holder == self._me or lease.holder in dead or now - since >= STANDSTILL
