"""Primary keys: one form for every spelling of a key that Directus and its database accept.

The activity log repeats a key as the caller wrote it: after ``PATCH /items/articles/042`` its
row has ``042``, and the item's own key is the number 42.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from directus_realtime.events import Key

_INTEGER_TYPES = frozenset({"integer", "bigInteger"})
#: Types of columns that compare UUIDs by value; in all others they are text.
_UUID_COLUMNS = frozenset({"uuid", "uniqueidentifier"})
#: The largest number that JavaScript, and so Directus, holds exactly.
_MAX_SAFE = 2**53 - 1
#: SQLite writes larger numbers with an exponent, and 15 digits of them.
_MAX_SPELLED_OUT = 10**15
#: Python refuses to convert thousands of digits, which fit no column anyway.
_INTEGER = re.compile(r"[ \t\n\v\f\r]*[+-]?[0-9]{1,1000}[ \t\n\v\f\r]*")
_DECIMAL = re.compile(
    r"[ \t\n\v\f\r]*([+-]?(?:[0-9]{1,1000}\.?[0-9]{0,1000}|\.[0-9]{1,1000})(e[+-]?[0-9]{1,3})?)"
    r"[ \t\n\v\f\r]*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class PrimaryKey:
    """The primary key of a collection.

    Attributes:
        name: Name of the field.
        type: Directus's type of the field, such as ``integer``, ``bigInteger``, ``uuid`` or
            ``string``; empty while it is unknown. A UUID in a column of text is a ``string``,
            since the database tells its spellings apart.
    """

    name: str = "id"
    type: str = ""

    @classmethod
    def of_field(cls, field: Mapping[str, Any]) -> PrimaryKey:
        """Return the primary key that an entry of ``GET /fields/:collection`` describes."""
        kind = str(field.get("type") or "unknown")
        column = str((field.get("schema") or {}).get("data_type") or "").lower()
        if kind == "uuid" and column not in _UUID_COLUMNS:
            kind = "string"
        return cls(str(field["field"]), kind)

    @property
    def is_integer(self) -> bool | None:
        """Whether the column holds whole numbers; ``None`` while that is unknown."""
        return self.type in _INTEGER_TYPES if self.type else None

    def seen(self, key: object) -> PrimaryKey:
        """Return the primary key with the type of a key of an item, if it was unknown."""
        if self.type or isinstance(key, bool) or not isinstance(key, int | str):
            return self
        return PrimaryKey(self.name, "integer" if isinstance(key, int) else "string")

    def canonical(self, written: object) -> Key:
        """Return the one form of a key, however a caller, Directus or its log spells it.

        Text that is no key of the column's type is returned unchanged: no item has it.

        Args:
            written: The key, for example ``"042"`` for the item 42.

        Raises:
            TypeError: It is neither text nor a whole number.
        """
        if isinstance(written, float) and written.is_integer() and abs(written) <= _MAX_SAFE:
            written = int(written)
        if isinstance(written, bool) or not isinstance(written, int | str):
            raise TypeError(f"A {type(written).__name__} is not a key.")
        if not self.type:
            return written
        if self.type in _INTEGER_TYPES:
            return written if isinstance(written, int) else _integer(written)
        return (self.type == "uuid" and _uuid(str(written))) or str(written)

    def may_be(self, key: Key) -> bool:
        """Return whether an item can have a canonical key: a column of UUIDs holds no others."""
        return self.type != "uuid" or _uuid(str(key)) is not None

    def wire(self, key: Key) -> Key:
        """Return the form in which a key is sent: JavaScript would round a large number."""
        return str(key) if isinstance(key, int) and abs(key) > _MAX_SAFE else key


def _integer(text: str) -> Key:
    if _INTEGER.fullmatch(text):
        return int(text)
    if not (found := _DECIMAL.fullmatch(text)):
        return text
    number = Decimal(found[1])
    is_rounded = bool(found[2]) and abs(number) >= _MAX_SPELLED_OUT
    if is_rounded or number != number.to_integral_value():
        return text
    return int(number)


def _uuid(text: str) -> str | None:
    try:
        return str(UUID(text.strip()))
    except ValueError:
        return None
