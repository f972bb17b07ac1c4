"""Values compared as a database compares them, without knowing the type of the column.

A number equals another number, and a text that is written as one (Directus sends decimals so).
Two date-times are compared by the moment, a text without a zone being UTC. Other texts are
compared as they are written. What cannot be compared is neither equal nor different.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

_NUMBER = re.compile(r"-?(0|[1-9]\d{0,99})(\.\d{1,100})?", re.ASCII)
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Operand:
    """A value with all its possible interpretations.

    Attributes:
        flag: A boolean.
        number: A number, or a text that is one.
        text: A text.
        moment: A text that is a date or a date-time.
    """

    flag: bool | None = None
    number: Decimal | None = None
    text: str | None = None
    moment: datetime | None = None

    @property
    def is_null(self) -> bool:
        """Whether it cannot be compared: NULL, an object, a list."""
        return self.flag is None and self.number is None and self.text is None

    @property
    def is_number(self) -> bool:
        """Whether it is a number itself."""
        return self.number is not None and self.text is None


_NOTHING = Operand()


def to_operand(value: Any) -> Operand:
    """Return the operand of a value of JSON."""
    match value:
        case bool():
            return Operand(flag=value)
        case str():
            return Operand(text=value, number=_number_in(value), moment=_moment_in(value))
        case int() if value.bit_length() < 400:
            return Operand(number=Decimal(value))
        case float() if value - value == 0:  # neither infinite nor NaN
            return Operand(number=Decimal(repr(value)))
    return _NOTHING


def compare(one: Operand, other: Operand) -> int | None:
    """Compare two values.

    Returns:
        Below, above or 0; ``None`` if they cannot be compared, or if it depends on the type of
        the column.
    """
    if one.text is not None and other.text is not None:
        return _compare_texts(one, other)
    if one.number is not None and other.number is not None:
        return _sign(one.number, other.number)
    if one.flag is not None and one.flag == other.flag:
        return 0
    return None


class Operands:
    """A set of values, searched in constant time."""

    def __init__(self, operands: Iterable[Operand]) -> None:
        all_ = list(operands)
        self._flags = {each.flag for each in all_ if each.flag is not None}
        self._texts = {each.text for each in all_ if each.text is not None}
        self._moments = {each.moment for each in all_ if each.moment is not None}
        self._numbers = {each.number for each in all_ if each.is_number}
        # Numbers written as texts: in a column of texts, 1 and 1.0 are two.
        self._written = {each.number for each in all_ if each.number is not None and each.text}
        self._only_flags = all(each.flag is not None for each in all_)
        self._only_texts = all(each.text is not None for each in all_)
        self._only_numeric = all(each.number is not None for each in all_)
        self._only_text_like = all(each.text is not None or each.is_number for each in all_)

    def contain(self, value: Any) -> bool:
        """Return whether a value equals one of them."""
        if isinstance(value, str) and not self._moments and not self._numbers:
            return value in self._texts  # the usual case: a name, a key, a status
        given = to_operand(value)
        if given.text is not None:
            return (
                given.text in self._texts
                or (given.moment is not None and given.moment in self._moments)
                or (given.number is not None and given.number in self._numbers)
            )
        if given.number is not None:
            return given.number in self._numbers or given.number in self._written
        return given.flag is not None and given.flag in self._flags

    def exclude(self, value: Any) -> bool:
        """Return whether a value can be compared with all of them, and equals none."""
        given = to_operand(value)
        if given.is_null or self.contain(value):
            return False
        if given.text is not None:
            if given.number is None:
                return self._only_texts
            return self._only_text_like and given.number not in self._written
        return self._only_numeric if given.number is not None else self._only_flags


def _compare_texts(one: Operand, other: Operand) -> int | None:
    if one.moment is not None and other.moment is not None:
        return _sign(one.moment, other.moment)
    order = _sign(one.text, other.text)
    if one.number is None or other.number is None:
        return order
    # Two decimals, or two texts of digits: the order may depend on which.
    return order if order == _sign(one.number, other.number) else None


def _sign(one: Any, other: Any) -> int:
    return int(one > other) - int(one < other)


def _number_in(text: str) -> Decimal | None:
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def _moment_in(text: str) -> datetime | None:
    if not _MOMENT.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:  # the 31st of February
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
