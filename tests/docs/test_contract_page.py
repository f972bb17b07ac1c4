"""The tests that the table of the contract suite names are there."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS / "contract" / "README.md").read_text(encoding="utf-8")


@cache
def names_in(file: str) -> list[str]:
    text = (TESTS / file).read_text(encoding="utf-8")
    return re.findall(r"^(?:async )?def (test_\w+)", text, re.M)


def named() -> list[tuple[str, str]]:
    """File and test, for each test that a row names after a file."""
    found = []
    for row in PAGE.splitlines():
        file = ""
        for quoted in re.findall(r"`([^`]+)`", row):
            if quoted.endswith(".py") and not quoted.startswith("tests/"):
                file = quoted if "/" in quoted else f"contract/{quoted}"
            elif quoted.startswith("test_") and file:
                found.append((file, quoted))
    return found


@pytest.mark.parametrize(("file", "name"), named())
def test_it_is_there(file: str, name: str) -> None:
    beginning = name.removesuffix("…")
    exact = beginning == name
    assert any(each == name if exact else each.startswith(beginning) for each in names_in(file)), (
        f"{file} has no {name}"
    )


def test_the_page_names_many() -> None:
    assert len(named()) > 90
