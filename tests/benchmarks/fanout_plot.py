"""Draws the results of ``tests.benchmarks.fanout``; both axes are logarithmic.

Draw kept ones anew: ``python -m tests.benchmarks.fanout_plot docs/images/fanout.json``.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Cells = Sequence[dict[str, Any]]
Point = tuple[float, float]

WIDTH, HEIGHT = 340, 260  # of one panel's area
LEFT, TOP, GAP, BELOW = 64, 56, 96, 130
COLOURS = {
    "directus": "#b3261e",
    "plain": "#b26a00",
    "gateway-uvicorn": "#0b57d0",
    "gateway-inbox": "#5a8dee",
    "gateway-daphne": "#00696b",
    "bare": "#5f6368",
}
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f1f1f}.title{font-weight:600;font-size:15px}"
    ".grid{stroke:#dadce0}.line{fill:none;stroke-width:2}.paper{fill:#fff}"
)


class Panel:
    """One diagram.

    Args:
        title: Above it.
        left: Its place.
        lines: The points of each way.
    """

    def __init__(self, title: str, left: float, lines: dict[str, list[Point]]) -> None:
        self._title, self._left, self._lines = title, left, lines
        values = [y for points in lines.values() for _, y in points]
        self._columns = sorted({x for points in lines.values() for x, _ in points})
        self._low = math.floor(math.log10(min(values)))
        self._high = math.ceil(math.log10(max(values)))

    def _x(self, value: float) -> float:
        first, last = math.log10(self._columns[0]), math.log10(self._columns[-1])
        share = (math.log10(value) - first) / ((last - first) or 1)
        return round(self._left + 14 + share * (WIDTH - 28), 1)

    def _y(self, value: float) -> float:
        share = (math.log10(value) - self._low) / ((self._high - self._low) or 1)
        return round(TOP + HEIGHT * (1 - share), 1)

    def draw(self) -> Iterator[str]:
        """Its elements."""
        yield f'<text class="title" x="{self._left}" y="{TOP - 22}">{self._title}</text>'
        for power in range(self._low, self._high + 1):
            y = self._y(10**power)
            yield f'<path class="grid" d="M{self._left} {y}h{WIDTH}"/>'
            label = f"{10**power:,}" if power >= 0 else f"{10**power:g}"
            yield f'<text x="{self._left - 8}" y="{y + 4}" text-anchor="end">{label}</text>'
        for column in self._columns:
            x = self._x(column)
            yield f'<text x="{x}" y="{TOP + HEIGHT + 20}" text-anchor="middle">{column:,}</text>'
        middle = self._left + WIDTH / 2
        yield f'<text x="{middle}" y="{TOP + HEIGHT + 40}" text-anchor="middle">browsers</text>'
        for way, points in self._lines.items():
            yield from self._line(COLOURS[way], points)

    def _line(self, colour: str, points: list[Point]) -> Iterator[str]:
        places = [(self._x(x), self._y(y)) for x, y in points]
        path = "L".join(f"{x} {y}" for x, y in places)
        yield f'<path class="line" stroke="{colour}" d="M{path}"/>'
        for x, y in places:
            yield f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"/>'


def draw(cells: Cells) -> str:
    """The picture, as SVG."""
    shown = [cell for cell in cells if cell["browsers"] > 1]
    second = LEFT + WIDTH + GAP
    panels = [
        Panel("CPU µs per delivery, browsers’ process", LEFT, _lines(shown, "front")),
        Panel("Burst of 100 changes: p99, ms", second, _lines(shown, "p99")),
    ]
    width, height = second + WIDTH + 24, TOP + HEIGHT + BELOW
    elements = [element for panel in panels for element in panel.draw()]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'aria-label="What a delivery costs, and how late a burst arrives, by way and number of '
        f'browsers">\n<style>{STYLE}</style>\n<rect class="paper" width="{width}" '
        f'height="{height}"/>\n' + "\n".join([*elements, *_legend(shown)]) + "\n</svg>\n"
    )


def _lines(cells: Cells, value: str) -> dict[str, list[Point]]:
    lines: dict[str, list[Point]] = {}
    for cell in cells:
        lines.setdefault(cell["way"], []).append((cell["browsers"], cell["burst"][value]))
    return lines


def _legend(cells: Cells) -> Iterator[str]:
    names = {cell["way"]: cell["name"] for cell in cells}
    for number, (way, name) in enumerate(names.items()):
        x, y = LEFT + number % 3 * 280, TOP + HEIGHT + 76 + number // 3 * 26
        yield f'<path class="line" stroke="{COLOURS[way]}" d="M{x} {y - 4}h22"/>'
        yield f'<text x="{x + 30}" y="{y}">{name}</text>'


if __name__ == "__main__":
    source = Path(sys.argv[1])
    kept = json.loads(source.read_text(encoding="utf-8"))
    source.with_suffix(".svg").write_text(draw(kept["cells"]), encoding="utf-8")
