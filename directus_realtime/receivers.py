"""Receivers as they were connected: their names, and the way to call them."""

from __future__ import annotations

import functools
import hashlib
import inspect
import types
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from asgiref.sync import iscoroutinefunction

from directus_realtime.signals import DirectusSignal, Receiver, has_non_atomic_mark

#: Part of marks that are valid in this process only.
_PROCESS = uuid.uuid4().hex[:8]
#: Wrappers around a receiver that are looked through.
_DEPTH = 50
_PLAIN = (str, bytes, int, float, bool, types.NoneType)


@dataclass(frozen=True, slots=True)
class ConnectedReceiver:
    """A receiver of a signal.

    Attributes:
        signal: The signal.
        receiver: The receiver as it was connected.
        function: The function to call: the receiver, or a wrapper that a tool put around it.
        name: Name for people, unique among the receivers of an event.
        mark: Text that is stored when it has succeeded. It is the name where that is the same
            after a deploy, and else valid in this process only.
    """

    signal: DirectusSignal
    receiver: Receiver
    function: Receiver
    name: str
    mark: str

    @property
    def is_stable(self) -> bool:
        """Whether it has the same name in every process."""
        return self.mark == self.name

    @property
    def is_async(self) -> bool:
        """Whether it must be awaited."""
        return any(
            iscoroutinefunction(part) and not is_wrapped
            for part, is_wrapped in _parts(self.receiver)
        )

    @property
    def may_be_async(self) -> bool:
        """Whether a ``def`` function wraps an ``async def`` one, and may return its coroutine."""
        return any(iscoroutinefunction(part) for part, _ in _parts(self.receiver))

    @property
    def is_non_atomic(self) -> bool:
        """Whether the receiver, or what it wraps, has ``non_atomic``."""
        return any(has_non_atomic_mark(part) for part, _ in _parts(self.receiver))


def connected_receivers(
    signals: Iterable[DirectusSignal], sender: object
) -> list[ConnectedReceiver]:
    """Return the receivers of signals for a sender, in the order in which they were connected."""
    entries = [
        (signal, _plain_uid(uid) or receiver_name(receiver), receiver, function)
        for signal in signals
        for uid, receiver, function in _with_wrappers(signal, sender)
    ]
    groups: defaultdict[str, set[int]] = defaultdict(set)
    for _, name, receiver, _ in entries:
        groups[name].add(_identity(receiver))
    seen: Counter[object] = Counter()
    found = []
    for signal, name, receiver, function in entries:
        identity = _identity(receiver)
        seen.update([name, (name, identity)])
        numbered = name if seen[name] == 1 else f"{name}#{seen[name]}"
        mark = numbered
        if len(groups[name]) > 1:
            mark = f"{name} ({_PROCESS}, {identity}, {seen[name, identity]})"
        found.append(ConnectedReceiver(signal, receiver, function, numbered, mark))
    return found


def receiver_name(receiver: Receiver) -> str:
    """Return module and qualified name of a receiver, or of its class, and what it wraps.

    Values that a ``functools.partial`` binds are a digest: they may be secret.
    """
    if isinstance(receiver, functools.partial):
        return f"functools.partial({receiver_name(receiver.func)}{_digest(receiver)})"
    named = receiver if hasattr(receiver, "__qualname__") else type(receiver)
    name = f"{named.__module__}.{named.__qualname__}"
    wrapped = _wrapped_names(receiver) if "<locals>" in name else []
    return f"{name}({', '.join(wrapped)})" if wrapped else name


def _with_wrappers(
    signal: DirectusSignal, sender: object
) -> Iterator[tuple[object, Receiver, Receiver]]:
    """Yield uid, receiver and function to call: tools wrap what Django's signal returns."""
    sync, asynchronous = signal.receivers_for(sender)
    functions = [*sync, *asynchronous]
    for uid, receiver in signal.connected(sender):
        function = next((each for each in functions if _surrounds(each, receiver)), receiver)
        if function in functions:
            functions.remove(function)
        yield uid, receiver, function


def _surrounds(function: Receiver, receiver: Receiver) -> bool:
    part: Any = function
    for _ in range(_DEPTH):
        if part is receiver or (inspect.ismethod(part) and part == receiver):
            return True
        part = getattr(part, "__wrapped__", None)
        if part is None:
            break
    return False


def _parts(receiver: Any) -> Iterator[tuple[Any, bool]]:
    """Yield a receiver and its inner functions, and whether a ``def`` function wraps each."""
    part, is_wrapped = receiver, False
    for _ in range(_DEPTH):
        yield part, is_wrapped
        if isinstance(part, functools.partial):
            part = part.func
        elif inspect.ismethod(part):
            part = part.__func__
        elif hasattr(part, "__wrapped__"):
            part, is_wrapped = part.__wrapped__, True
        elif not inspect.isroutine(part) and inspect.isfunction(type(part).__call__):
            part = type(part).__call__
        else:
            return


def _identity(receiver: Any) -> int:
    """Return the identity of a receiver; each access of a bound method makes another object."""
    if inspect.ismethod(receiver):
        return id(receiver.__self__) ^ id(receiver.__func__)
    return id(receiver)


def _plain_uid(uid: object) -> str:
    """Return a ``dispatch_uid`` that is the same in every process, as text; else ``""``."""
    return (uid if isinstance(uid, str) else repr(uid)) if uid and _is_plain(uid) else ""


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


def _digest(receiver: functools.partial[Any]) -> str:
    values = [*receiver.args, *sorted(receiver.keywords.items())]
    if not values:
        return ""
    text = ", ".join(map(_described, values))
    return f", {hashlib.sha256(text.encode(errors='replace')).hexdigest()[:8]}"


def _described(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_described, value))})"
    if callable(value):
        return receiver_name(value)
    return repr(value) if _is_plain(value) else f"{type(value).__module__}.{type(value).__name__}"


def _wrapped_names(receiver: Receiver) -> list[str]:
    """Return the names of the functions that a wrapper without ``functools.wraps`` calls."""
    cells: Iterable[types.CellType] = getattr(receiver, "__closure__", None) or ()
    return [receiver_name(each) for each in _functions(cells) if each is not receiver]


def _functions(cells: Iterable[types.CellType]) -> Iterator[Callable[..., Any]]:
    for cell in cells:
        try:
            content = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
        if inspect.isfunction(content) and "<locals>" not in content.__qualname__:
            yield content
