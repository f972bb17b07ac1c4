"""The code blocks of a page of the documentation."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"

_PART = re.compile(
    r"^<!--\s*(?P<name>\w+):(?P<value>.*?)-->$|^```python\n(?P<code>.*?)^```$", re.M | re.S
)


@dataclass
class Block:
    """A block of Python.

    Attributes:
        line: Where it begins.
        code: Its text.
        directives: What the comments before it say to whoever runs it, by name.
    """

    line: int
    code: str
    directives: dict[str, str] = field(default_factory=dict)


def python_blocks(page: str) -> list[Block]:
    """The Python blocks of a page, in order."""
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks: list[Block] = []
    directives: dict[str, str] = {}
    for part in _PART.finditer(text):
        if part["code"] is None:
            directives[part["name"]] = part["value"].strip()
            continue
        line = text.count("\n", 0, part.start("code")) + 1
        blocks.append(Block(line, part["code"], directives))
        directives = {}
    assert blocks, f"{page} has no Python blocks"
    return blocks
