"""The story of a simulation, line by line."""

from __future__ import annotations

import hashlib


class Trace:
    """Collects lines, each with its true time and its machine.

    Args:
        is_detailed: Keep a line for each request and each job of the database, too.
    """

    def __init__(self, *, is_detailed: bool = False) -> None:
        self.is_detailed = is_detailed
        self.lines: list[tuple[float, str, str]] = []
        self._digest = hashlib.sha256()

    def add(self, at: float, machine: str, words: str) -> None:
        """Add a line."""
        self.lines.append((at, machine, words))
        self._digest.update(f"{at:.6f} {machine} {words}\n".encode())

    @property
    def digest(self) -> str:
        """A digest of the whole story: equal where the same things happened."""
        return self._digest.hexdigest()[:16]

    def text(self) -> str:
        """Return the story."""
        return "\n".join(f"{at:10.3f}  {machine:9}  {words}" for at, machine, words in self.lines)
