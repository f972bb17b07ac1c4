"""Django signals of changes in Directus.

``sender`` is the collection's name and matches by equality::

    @receiver(directus_item_created, sender="articles")
    def index_article(sender, event, **kwargs): ...

Receivers may be ``def`` or ``async def`` and must accept ``**kwargs``.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from django.dispatch import Signal

from directus_realtime.events import Action

__all__ = [
    "DirectusSignal",
    "directus_connection_changed",
    "directus_event",
    "directus_gap_detected",
    "directus_item_created",
    "directus_item_deleted",
    "directus_item_updated",
    "directus_load_finished",
    "directus_subscription_failed",
    "non_atomic",
]

Receiver = Callable[..., Any]
R = TypeVar("R", bound=Receiver)

_NON_ATOMIC = "_directus_non_atomic"


def non_atomic(receiver: R) -> R:
    """Call a receiver outside of the transaction that marks it as done.

    For a ``def`` receiver with slow I/O: it holds no transaction open, but after a crash it may
    be called again for the same event. Use it above or below ``@receiver``::

        @receiver(directus_item_created, sender="articles")
        @non_atomic
        def purge_cdn(sender, event, **kwargs): ...
    """
    setattr(receiver, _NON_ATOMIC, True)
    return receiver


def has_non_atomic_mark(function: object) -> bool:
    """Whether :func:`non_atomic` was applied to exactly this object."""
    return bool(getattr(function, _NON_ATOMIC, False))


class DirectusSignal(Signal):
    """A signal whose string senders match by equality.

    Django matches senders by identity, so the name of a collection from JSON would never match
    the literal in the decorator of a receiver.
    """

    # One string object for each name in a connect() call. It is kept alive, so that its id is
    # never reused by another sender.
    _names: dict[str, str] = {}
    _uids: set[object] = set()

    def connect(
        self,
        receiver: Receiver,
        sender: object | None = None,
        weak: bool = True,
        dispatch_uid: Any = None,
    ) -> None:
        if isinstance(sender, str):
            sender = self._names.setdefault(sender, sender)
        if dispatch_uid:
            self._uids.add(dispatch_uid)
        super().connect(receiver, sender=sender, weak=weak, dispatch_uid=dispatch_uid)

    def disconnect(
        self,
        receiver: Receiver | None = None,
        sender: object | None = None,
        dispatch_uid: Any = None,
    ) -> bool:
        return super().disconnect(receiver, self._canonical(sender), dispatch_uid)

    def _live_receivers(self, sender: object) -> tuple[list[Receiver], list[Receiver]]:
        # All methods that send, and has_listeners(), call this one.
        return super()._live_receivers(self._canonical(sender))

    def receivers_for(self, sender: object) -> tuple[list[Receiver], list[Receiver]]:
        """Return the living receivers for a sender.

        Returns:
            The ``def`` receivers, and the ``async def`` receivers.
        """
        sync, asynchronous = self._live_receivers(sender)
        return list(sync), list(asynchronous)

    def connected(self, sender: object) -> list[tuple[object, Receiver]]:
        """Return the living receivers for a sender as they were connected, in that order.

        Returns:
            ``dispatch_uid`` (``None`` without one) and receiver.
        """
        senders = {id(None), id(self._canonical(sender))}
        found: list[tuple[object, Receiver]] = []
        for (key, sender_id), reference, *_ in self.receivers:
            if sender_id not in senders:
                continue
            is_weak = isinstance(reference, weakref.ReferenceType)
            if (receiver := reference() if is_weak else reference) is not None:
                found.append((key if key in self._uids else None, receiver))
        return found

    @classmethod
    def senders(cls) -> list[str]:
        """Return the names of all senders for which receivers were connected."""
        return sorted(cls._names)

    def _canonical(self, sender: object) -> object:
        return self._names.get(sender, sender) if isinstance(sender, str) else sender


#: An item was created. Sent with ``event``.
directus_item_created = DirectusSignal()
#: An item was updated. Sent with ``event``.
directus_item_updated = DirectusSignal()
#: An item was deleted. Sent with ``event``; its ``data`` is ``None``.
directus_item_deleted = DirectusSignal()
#: Any of the three. Sent with ``event``.
directus_event = DirectusSignal()

#: A connection changed its state. ``sender`` is the alias; sent with ``connection``
#: (the alias too), ``state`` and ``reason``.
directus_connection_changed = DirectusSignal()
#: A subscription is refused. ``sender`` is the collection; sent with ``subscription``
#: (its name) and ``error``.
directus_subscription_failed = DirectusSignal()
#: Changes may be lost, or those of a long outage were recovered. ``sender`` is the alias; sent
#: with ``connection``, ``since``, ``until`` (aware datetimes), ``recovered`` (bool) and
#: ``collections`` (names of those whose changes may be lost; empty where none are).
directus_gap_detected = DirectusSignal()
#: A load of all items is complete: its events are in the inbox. ``sender`` is the collection; sent
#: with ``connection`` (the alias), ``subscription`` (its name), ``items`` (number of items that
#: were loaded) and ``deleted`` (number of known items that are gone, which were reported as
#: deleted).
directus_load_finished = DirectusSignal()

_ITEM_SIGNALS = {
    "create": directus_item_created,
    "update": directus_item_updated,
    "delete": directus_item_deleted,
}


def signals_for(action: Action) -> tuple[DirectusSignal, DirectusSignal]:
    """Return the signals of an event: of its action, and of all events."""
    return _ITEM_SIGNALS[action], directus_event
