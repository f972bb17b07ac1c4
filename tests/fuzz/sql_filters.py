"""Filters as Directus writes them in SQL, run by SQLite on typed columns."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

#: The fields of an article and the types of their columns.
COLUMNS = {
    "id": "INTEGER",
    "stock": "INTEGER",
    "rate": "REAL",
    "price": "NUMERIC",
    "title": "VARCHAR(255)",
    "is_on": "BOOLEAN",
    "at": "DATETIME",
}
#: Those of an author.
AUTHOR_COLUMNS = {"name": "VARCHAR(255)", "age": "INTEGER"}
NUMERIC = {"INTEGER", "REAL", "NUMERIC"}

_ORDERS = {"_lt": "<", "_lte": "<=", "_gt": ">", "_gte": ">="}
_PLACES = {"contains": "%{}%", "starts_with": "{}%", "ends_with": "%{}"}

Part = tuple[str, list[Any]]


class SqlArticles:
    """Articles in a database, each with an author or none.

    Args:
        rows: As Directus would send them: decimals as texts, date-times in ISO 8601.
        like_is_exact: Whether LIKE heeds case, as in PostgreSQL.
    """

    def __init__(self, rows: Iterable[dict[str, Any]], *, like_is_exact: bool) -> None:
        self._database = sqlite3.connect(":memory:")
        self._database.execute(f"PRAGMA case_sensitive_like = {int(like_is_exact)}")
        columns = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
        authors = ", ".join(f'"author_{name}" {kind}' for name, kind in AUTHOR_COLUMNS.items())
        self._database.execute(f"CREATE TABLE articles ({columns}, {authors})")
        for row in rows:
            author = row["author"] or dict.fromkeys(AUTHOR_COLUMNS)
            values = [_stored(row[name], kind) for name, kind in COLUMNS.items()]
            values += [author[name] for name in AUTHOR_COLUMNS]
            places = ", ".join("?" for _ in values)
            self._database.execute(f"INSERT INTO articles VALUES ({places})", values)

    def close(self) -> None:
        """Forget them."""
        self._database.close()

    def matching(self, filter_: dict[str, Any]) -> set[int]:
        """The ids of those that pass; a value that Directus would refuse passes nothing."""
        where, values = _item(filter_)
        query = f"SELECT id FROM articles WHERE {where}"
        return {number for (number,) in self._database.execute(query, values)}


def _stored(value: Any, kind: str) -> Any:
    """A value as a column has it; Directus keeps times in SQLite as milliseconds."""
    if value is None or kind != "DATETIME":
        return float(value) if kind == "NUMERIC" and value is not None else value
    if not isinstance(value, str):
        raise ValueError(value)
    moment = datetime.fromisoformat(value)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


def _joined(parts: list[Part], word: str, nothing: str = "1 = 1") -> Part:
    if not parts:
        return nothing, []
    text = f" {word} ".join(f"({text})" for text, _ in parts)
    return text, [value for _, values in parts for value in values]


def _item(filter_: dict[str, Any], author: bool = False) -> Part:
    return _joined([_entry(name, value, author) for name, value in filter_.items()], "AND")


def _entry(name: str, value: Any, author: bool) -> Part:
    if name in ("_and", "_or"):
        return _joined([_item(entry, author) for entry in value], name[1:].upper())
    if name == "author":
        return _item(value, author=True)
    kind = (AUTHOR_COLUMNS if author else COLUMNS)[name]
    column = f'"author_{name}"' if author else f'"{name}"'
    operators = value if isinstance(value, dict) else {"_eq": value}
    return _joined([_checked(column, kind, *each) for each in operators.items()], "AND")


def _checked(column: str, kind: str, name: str, operand: Any) -> Part:
    if name == "_in":
        return _joined([_checked(column, kind, "_eq", entry) for entry in operand], "OR", "1 = 0")
    try:
        return _operator(column, kind, name, operand)
    except ValueError:
        return "1 = 0", []


def _operator(column: str, kind: str, name: str, operand: Any) -> Part:
    if name in ("_null", "_nnull"):
        return f"{column} IS {'' if operand is (name == '_null') else 'NOT '}NULL", []
    if name in ("_empty", "_nempty"):
        if kind not in ("VARCHAR(255)",):
            raise ValueError(name)
        if operand is (name == "_empty"):
            return f"{column} IS NULL OR {column} = ''", []
        return f"{column} IS NOT NULL AND {column} != ''", []
    if name in _ORDERS:
        return f"{column} {_ORDERS[name]} ?", [_cast(operand, kind)]
    if name in ("_eq", "_neq"):
        return f"{'' if name == '_eq' else 'NOT '}{column} = ?", [_cast(operand, kind)]
    if name in ("_nin", "_between", "_nbetween"):
        return _list_operator(column, name, [_cast(entry, kind) for entry in operand])
    return _text_operator(column, kind, name, operand)


def _list_operator(column: str, name: str, values: list[Any]) -> Part:
    if name.endswith("between"):
        return f"{column} {'NOT ' if name == '_nbetween' else ''}BETWEEN ? AND ?", values
    if not values:
        return "1 = 1", []
    return f"{column} NOT IN ({', '.join('?' for _ in values)})", values


def _text_operator(column: str, kind: str, name: str, operand: str) -> Part:
    if kind not in ("VARCHAR(255)",):
        raise ValueError(name)
    bare = name[1:]
    negation, bare = ("NOT ", bare[1:]) if bare.startswith("n") else ("", bare)
    ignores_case, bare = (True, bare[1:]) if bare.startswith("i") else (False, bare)
    if ignores_case:
        column, operand = f"LOWER({column})", operand.lower()
    return f"{negation}{column} LIKE ?", [_PLACES[bare].format(operand)]


def _cast(operand: Any, kind: str) -> Any:
    """An operand as Directus makes it fit the column."""
    if kind in NUMERIC:
        return float(operand) if isinstance(operand, str) else operand
    if kind == "BOOLEAN" and not isinstance(operand, bool):
        raise ValueError(operand)
    return _stored(operand, kind)
