"""docs/checks.md names every system check, and each hint leads to its place there."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import directus_realtime
from directus_realtime.checks import check_channel_layer
from tests.docs.markdown import DOCS

PACKAGE = Path(directus_realtime.__file__).parent
PAGE = (DOCS / "checks.md").read_text(encoding="utf-8")
LETTERS = {"_error": "E", "Problem": "E", "_warning": "W"}


def ids_in_the_source() -> list[str]:
    """The id of each place that makes a check's message."""
    found = []
    for name in ("checks.py", "settings.py"):
        for node in ast.walk(ast.parse((PACKAGE / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                letter, number = LETTERS.get(node.func.id), node.args[0]
                if letter and isinstance(number, ast.Constant):
                    found.append(f"{letter}{number.value:03}")
    return found


def test_no_id_is_used_for_two_things() -> None:
    counts = Counter(ids_in_the_source())
    assert len(counts) > 20
    assert [name for name, count in counts.items() if count > 1] == []


def test_every_id_has_its_heading() -> None:
    headings = re.findall(r"^### (\S+)$", PAGE, re.M)
    assert headings == sorted(set(ids_in_the_source()))


def test_every_id_is_in_the_table_and_leads_to_its_heading() -> None:
    rows = re.findall(r"^\| \[(\w+)\]\(#(\w+)\) \| .+ \|$", PAGE, re.M)
    assert [name for name, _ in rows] == sorted(set(ids_in_the_source()))
    assert all(anchor == name.lower() for name, anchor in rows)


def test_a_hint_leads_to_the_page(settings: object) -> None:
    settings.CHANNEL_LAYERS = {}  # type: ignore[attr-defined]
    (found,) = check_channel_layer()
    assert found.hint is not None
    assert found.hint.endswith("See docs/checks.md#w002.")
