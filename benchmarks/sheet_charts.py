"""Charts of a sheet as SVG: they take the width and the colours of the page around.

Lengths across are percentages and type is in pixels, so that one drawing serves a desk
and a telephone. Nothing but the standard library draws them.
"""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDEST = 74.0  # percent of the width, which leaves room for numbers
BAR, LINE, GAP = 17, 21, 12  # pixels
COLOURS = {
    "aljax": "var(--good)",
    "JAX": "var(--good)",
    "PyTorch": "var(--faint)",
    "compiled PyTorch": "var(--random)",
}
STYLE = """
svg.chart { width: 100%; overflow: visible; }
svg.chart text { font: 400 13px var(--sans); fill: var(--ink); }
svg.chart text.n { fill: var(--muted); }
svg.chart line { stroke: var(--ink); stroke-width: 1.5; }
svg.chart line.w { stroke: var(--good); stroke-width: 3; }
svg.chart line.m { stroke: var(--muted); stroke-width: 1; stroke-dasharray: 3 3; }
svg.chart circle { fill: var(--good); }
.key { font: 400 .8125rem/1.5 var(--sans); color: var(--muted); margin: 0 0 .4rem; }
.key span { margin-right: 1.1rem; white-space: nowrap; }
.key i { display: inline-block; width: .75rem; height: .75rem; margin-right: .35rem; }
"""


class Bar(NamedTuple):
    """One quantity and its range."""

    name: str  # of its colour
    value: float
    text: str
    low: float
    high: float


class Dot(NamedTuple):
    """One ratio and its range."""

    title: str
    value: float
    text: str
    low: float
    high: float


def bars(groups: Sequence[tuple[str, Sequence[Bar]]], label: str) -> str:
    """Bars from the left, under a title for each group; with a key.

    Args:
        groups: title and bars.
        label: what all of it shows, for who cannot see it.
    """
    every = [bar for _, group in groups for bar in group]
    top = max((bar.high for bar in every), default=0.0) or 1.0
    drawn, y = [], 0
    for title, group in groups:
        drawn.append(_text(0, y + 14, title, "t"))
        y += LINE
        for bar in group:
            across = [WIDEST * v / top for v in (bar.value, bar.low, bar.high)]
            drawn.append(
                f'<rect x="0" y="{y}" width="{across[0]:.2f}%" height="{BAR - 3}" '
                f'style="fill:{COLOURS[bar.name]}"/>'
            )
            if bar.high > bar.low:
                drawn.append(_range(across[1], across[2], y + (BAR - 3) / 2))
            end = max(across[0], across[2])
            drawn.append(_text(end, y + 12, bar.text, "n", 8))
            y += BAR
        y += GAP
    names = dict.fromkeys(bar.name for bar in every)
    return _key([*names]) + _svg(drawn, y - GAP, label)


def dots(
    rows: Sequence[Dot],
    label: str,
    middle: float,
    bounds: tuple[float, float],
    log: bool = False,
) -> str:
    """A dot and its range for each row, around an upright line at `middle`.

    Args:
        rows: from above.
        label: what all of it shows, for who cannot see it.
        middle: what there is to compare with.
        bounds: least and largest value of charts that are read together.
        log: whether the axis is logarithmic.
    """
    scale = math.log if log else float
    low, high = scale(min(bounds[0], middle)), scale(max(bounds[1], middle))
    room = (high - low) or 1.0

    def place(value: float) -> float:
        return 1 + (WIDEST - 1) * (scale(value) - low) / room

    drawn, y = [], 0
    for row in rows:
        drawn.append(_text(0, y + 14, row.title, "t"))
        y += LINE
        drawn.append(_line(place(middle), y - 2, y + BAR))
        drawn.append(_range(place(row.low), place(row.high), y + 8, "w"))
        drawn.append(f'<circle cx="{place(row.value):.2f}%" cy="{y + 8}" r="5"/>')
        drawn.append(_text(place(max(row.high, middle)), y + 12, row.text, "n", 12))
        y += BAR + GAP
    return _svg(drawn, y - GAP, label)


def bounds_of(rows: Sequence[Dot]) -> tuple[float, float]:
    """The least and the largest value of some rows."""
    return min(row.low for row in rows), max(row.high for row in rows)


def _key(names: list[str]) -> str:
    items = (
        f'<span><i style="background:{COLOURS[name]}"></i>{escape(name)}</span>'
        for name in names
    )
    return f'<p class="key">{" ".join(items)}</p>'


def _svg(drawn: list[str], height: float, label: str) -> str:
    return (
        f'<svg role="img" aria-label="{escape(label)}" class="chart" '
        f'style="height:{height:.0f}px">{"".join(drawn)}</svg>'
    )


def _text(across: float, y: float, text: str, kind: str, dx: int = 0) -> str:
    place = f'x="{across:.2f}%" y="{y}" dx="{dx}"'
    return f'<text {place} class="{kind}">{escape(text)}</text>'


def _range(low: float, high: float, y: float, kind: str = "r") -> str:
    return f'<line x1="{low:.2f}%" x2="{high:.2f}%" y1="{y}" y2="{y}" class="{kind}"/>'


def _line(across: float, top: float, bottom: float) -> str:
    return (
        f'<line x1="{across:.2f}%" x2="{across:.2f}%" y1="{top}" y2="{bottom}" '
        'class="m"/>'
    )
