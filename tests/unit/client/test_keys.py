from __future__ import annotations

from typing import Any

import pytest

from directus_realtime.client.keys import PrimaryKey

UUID = "abcdef01-2345-6789-abcd-ef0123456789"


@pytest.mark.parametrize(
    ("written", "number"),
    [
        (1, 1),
        ("1", 1),
        ("-5", -5),
        ("0", 0),
        ("-0", 0),
        ("042", 42),
        (" 42 ", 42),
        ("\t42\n", 42),
        ("+42", 42),
        ("42.0", 42),
        ("42.", 42),
        ("4.2e1", 42),
        ("4.2E+1", 42),
        (42.0, 42),
        ("9007199254740993", 2**53 + 1),
        ("9" * 30, int("9" * 30)),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_every_spelling_of_a_number_is_the_same_key(written: object, number: int) -> None:
    for kind in ("integer", "bigInteger"):
        found = PrimaryKey("id", kind).canonical(written)
        assert found == number
        assert type(found) is int


@pytest.mark.parametrize(
    "written",
    [
        *("abc", "", " ", "-", "--1", "1.5", "42abc", "4_2", "0x2a", "1e400", "e1", ".", "nan"),
        *("٣", "²", "\u00a042", "9" * 5000, "\ud800"),
        # SQLite's text of 9007199254740993: some digits are lost, so it names another item.
        "9.00719925474099e+15",
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_text_that_no_database_takes_for_a_number_stays_text(written: str) -> None:
    assert PrimaryKey("id", "integer").canonical(written) == written


@pytest.mark.parametrize(
    "written",
    [
        UUID,
        UUID.upper(),
        f"{{{UUID}}}",
        UUID.replace("-", ""),
        f"urn:uuid:{UUID}",
        f" {UUID} ",
    ],
)
def test_every_spelling_of_a_uuid_is_the_same_key(written: str) -> None:
    assert PrimaryKey("id", "uuid").canonical(written) == UUID


@pytest.mark.parametrize("written", ["nope", "", "é", UUID[:-1], "\ud800"], ids=ascii)
def test_text_that_is_no_uuid_stays_as_it_is_written(written: str) -> None:
    key = PrimaryKey("id", "uuid")
    assert key.canonical(written) == written
    assert not key.may_be(written)
    assert key.may_be(UUID)
    assert PrimaryKey("id", "string").may_be(written)


@pytest.mark.parametrize("kind", ["string", "text", "unknown"])
def test_text_keys_stay_as_they_are_written(kind: str) -> None:
    key = PrimaryKey("slug", kind)
    for written in ("042", " a ", "ABC", UUID.upper(), "null", "$NOW"):
        assert key.canonical(written) == written
    assert key.canonical(7) == "7"


def test_keys_of_an_unknown_type_stay_as_they_are_written() -> None:
    key = PrimaryKey()
    assert [key.canonical(each) for each in (7, "7", "a")] == [7, "7", "a"]


@pytest.mark.parametrize("written", [None, True, 1.5, float("nan"), [1], {}], ids=repr)
@pytest.mark.parametrize("kind", ["", "integer", "uuid", "string"])
def test_a_key_is_text_or_a_whole_number(kind: str, written: object) -> None:
    with pytest.raises(TypeError, match="is not a key"):
        PrimaryKey("id", kind).canonical(written)


@pytest.mark.parametrize(
    ("kind", "is_integer"),
    [("integer", True), ("bigInteger", True), ("uuid", False), ("string", False), ("", None)],
)
def test_whether_keys_are_whole_numbers(kind: str, is_integer: bool | None) -> None:
    assert PrimaryKey("id", kind).is_integer is is_integer


def test_a_row_shows_the_type_of_an_unknown_key() -> None:
    assert PrimaryKey().seen("a") == PrimaryKey("id", "string")
    assert PrimaryKey().seen(1) == PrimaryKey("id", "integer")
    for nothing in (None, True, 1.5):
        assert PrimaryKey().seen(nothing) == PrimaryKey("id")
    assert PrimaryKey("slug", "uuid").seen(1) == PrimaryKey("slug", "uuid")


def test_large_numbers_travel_as_text() -> None:
    key = PrimaryKey("id", "bigInteger")
    sent = [key.wire(each) for each in (2**53 - 1, 2**53, -(2**53), "a", 1)]
    assert sent == [2**53 - 1, str(2**53), str(-(2**53)), "a", 1]


@pytest.mark.parametrize(
    ("kind", "column", "expected"),
    [
        ("integer", "integer", "integer"),
        ("bigInteger", "bigint", "bigInteger"),
        ("uuid", "uuid", "uuid"),
        ("uuid", "uniqueidentifier", "uuid"),
        # SQLite and MySQL keep a UUID as text, and SQLite tells upper and lower case apart.
        ("uuid", "char", "string"),
        ("string", "character varying", "string"),
        (None, "bytea", "unknown"),
    ],
)
def test_the_type_of_a_key_from_the_schema(kind: Any, column: str, expected: str) -> None:
    field = {"field": "slug", "type": kind, "schema": {"data_type": column}}
    assert PrimaryKey.of_field(field) == PrimaryKey("slug", expected)
