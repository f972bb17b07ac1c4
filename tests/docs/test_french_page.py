"""The page in French keeps to French typography."""

from __future__ import annotations

import re

from tests.docs.markdown import DOCS

PAGE = DOCS / "fr" / "depuis-fcs-directus.md"
#: Code, targets of links, and what is said to whoever runs the examples.
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`|(?<=\])\([^)]*\)|<!--.*?-->", re.M | re.S)


def test_no_line_can_break_before_a_mark_or_inside_of_quotes() -> None:
    prose = CODE.sub("x", PAGE.read_text(encoding="utf-8"))
    assert re.findall(r".*(?:\s[;:!?»]|«\s).*", prose.replace("\u00a0", "_")) == []
    assert re.findall(r".*[^\u00a0:][;!?»].*", prose) == []


def test_apostrophes_are_typographic() -> None:
    prose = CODE.sub("x", PAGE.read_text(encoding="utf-8"))
    assert re.findall(r".*'.*", prose) == []
