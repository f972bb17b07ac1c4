"""The code blocks of a page of the documentation."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_PART = re.compile(
    r"^ *<!--\s*(?P<name>[\w-]+):(?P<value>.*?)-->$"
    r"|^(?P<indent> *)```(?P<language>[\w-]*)[^\n`]*\n(?P<code>.*?)^(?P=indent)```$",
    re.M | re.S,
)


@dataclass
class Block:
    """A block of code.

    Attributes:
        line: Where it begins.
        code: Its text.
        directives: What the comments before it say to whoever runs it, by name.
        language: What stands behind the three backticks.
    """

    line: int
    code: str
    directives: dict[str, str] = field(default_factory=dict)
    language: str = "python"


def blocks_of(page: str | Path) -> list[Block]:
    """All blocks of a page, in order; a name is one in ``docs``."""
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks: list[Block] = []
    directives: dict[str, str] = {}
    for part in _PART.finditer(text):
        if part["code"] is None:
            directives[part["name"]] = part["value"].strip()
            continue
        line = text.count("\n", 0, part.start("code")) + 1
        indent = part["indent"]
        code = re.sub(rf"^{indent}", "", part["code"], flags=re.M) if indent else part["code"]
        blocks.append(Block(line, code, directives, part["language"]))
        directives = {}
    return blocks


def python_blocks(page: str | Path) -> list[Block]:
    """The Python blocks of a page, in order."""
    blocks = [block for block in blocks_of(page) if block.language == "python"]
    assert blocks, f"{page} has no Python blocks"
    return blocks
