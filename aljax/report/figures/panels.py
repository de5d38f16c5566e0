"""Small multiples: axes of one size in rows, measured in inches.

The space is reckoned by hand, which is exact, the same everywhere, and many times
faster than matplotlib's own layouts for a page of figures.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aljax.report.style import INK, MUTED, Look

LINE = 0.19  # inches from one line of text to the next
_SMALLEST = 7.0  # points of a title


@dataclass(frozen=True)
class Space:
    """Inches around and between panels."""

    left: float = 0.42
    right: float = 0.12
    bottom: float = 0.44
    across: float = 0.2
    down: float = 0.12
    title: float = 0.28


def panels(
    titles: Sequence[str],
    columns: int,
    width: float,
    height: float,
    *,
    heading: str = "",
    below: str = "",
    key: Sequence[Look] = (),
    strip: float = 0.0,
    space: Space = Space(),
) -> tuple[Figure, list[Axes]]:
    """Makes a figure of panels that share both axes.

    Args:
        titles: one per panel; "" for none.
        columns: panels in a row.
        width: of the figure, inches.
        height: of a panel, inches.
        heading: what the upright axis shows, written above the panels.
        below: what the level axis shows.
        key: looks to explain in a row beneath the heading.
        strip: inches to leave free beneath that.
        space: around the panels.

    Returns:
        the figure and its axes, row by row.
    """
    if not below:
        space = replace(space, bottom=space.bottom - LINE + 0.03)
    inner = width - space.left - space.right - (columns - 1) * space.across
    room = inner / columns + 0.7 * space.across
    if any(text_width(title, 1.1 * _SMALLEST) > room for title in titles):
        titles = [title.replace(" · ", "\n") for title in titles]
        space = replace(space, title=space.title + 0.75 * LINE)
    top = space.title if any(titles) else 0.06
    keys = key_rows(key, width - space.right)
    head = 0.1 + LINE * (bool(heading) + len(keys)) + 0.06 * bool(keys) + strip
    rows = math.ceil(len(titles) / columns)
    total = head + rows * (top + height + space.down) - space.down + space.bottom
    figure = Figure(figsize=(width, total))
    made: list[Axes] = []
    for i, title in enumerate(titles):
        row, column = divmod(i, columns)
        x = space.left + column * (inner / columns + space.across)
        y = total - head - (row + 1) * (top + height) - row * space.down
        first = made[0] if made else None
        box = (x / width, y / total, inner / columns / width, height / total)
        made.append(figure.add_axes(box, sharex=first, sharey=first))
        _title(made[-1], title, room)
        lowest = i + columns >= len(titles)
        made[-1].tick_params(labelleft=column == 0, labelbottom=lowest)
    _write(figure, heading, below, keys, space)
    return figure, made


def _title(axes: Axes, title: str, room: float) -> None:
    """A panel's title, in smaller type or shortened where there is no room for it."""
    parts = title.split("\n")
    widest = max(text_width(part, 9.9) for part in parts)
    size = min(9.0, max(_SMALLEST, 9.0 * room / max(widest, 0.1)))
    for i, part in enumerate(parts):
        while len(part) > 4 and text_width(part, 1.09 * size) > room:
            part = parts[i] = part[:-2] + "…"
    text = "\n".join(parts)
    axes.set_title(text, color=INK, fontweight="bold", fontsize=size)


def inches(axes: Axes) -> tuple[float, float]:
    """Width and height of axes."""
    figure = axes.get_figure(root=True)
    box = axes.get_position()
    return box.width * figure.get_figwidth(), box.height * figure.get_figheight()


def text_width(text: str, points: float = 8.5) -> float:
    """About how wide a text is, in inches: no font is measured, for speed."""
    return sum(0.33 if c in "iljtf.,:;|' " else 0.62 for c in text) * points / 72


def key_rows(key: Sequence[Look], width: float) -> list[list[tuple[float, Look]]]:
    """Breaks a key into rows: each look with its distance from the left, inches."""
    rows: list[list[tuple[float, Look]]] = []
    x = 0.0
    for look in key:
        needed = 0.34 + text_width(look.label) + 0.2
        if not rows or x + needed > width:
            rows.append([])
            x = 0.0
        rows[-1].append((x, look))
        x += needed
    return rows


def _write(figure: Figure, heading: str, below: str, keys, space: Space) -> None:
    width, height = figure.get_size_inches()
    y = height - 0.1 - LINE / 2

    def put(x, y, text, **settings):
        settings = {"va": "center", "fontsize": 8.5} | settings
        figure.text(x / width, y / height, text, **settings)

    if heading:
        put(0.04, y, heading, color=MUTED)
        y -= LINE + 0.03
    for row in keys:
        for x, look in row:
            figure.add_artist(sample(0.04 + x, y, look, (width, height)))
            put(0.04 + x + 0.32, y, look.label, color=INK)
        y -= LINE
    if below:
        half = text_width(below, 8.5) / 2
        middle = min((space.left + width - space.right) / 2, width - half - 0.05)
        put(middle, 0.11, below, color=MUTED, ha="center")


def sample(x: float, y: float, look: Look, size: tuple[float, float]) -> Line2D:
    """A short piece of a series' line, for a key."""
    return Line2D(
        [(x + step) / size[0] for step in (0, 0.13, 0.26)],
        [y / size[1]] * 3,
        color=look.colour,
        linestyle=look.dashes,
        marker=look.marker,
        markevery=[1],
        linewidth=1.8,
        markersize=4.5,
    )
