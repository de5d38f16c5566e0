"""Heat maps: a table in colours, with its numbers in the cells while they fit."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from aljax.report.figures.panels import Space, inches, panels, text_width
from aljax.report.style import FAINT, GROUND, MUTED

_COLOURS = matplotlib.colormaps["cividis"]
_DARK, _LIGHT = "#101214", "#ffffff"
_MOST_CELLS = 600  # that an SVG draws one by one
_FITS = 0.16  # inches of height that a number takes


def heat(
    axes: Axes,
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    norm: Normalize,
    *,
    text: str = "{:.0f}",
) -> None:
    """Draws a table; a value that is missing is a crossed cell without colour.

    Args:
        axes: where.
        values: `[R, C]`, NaN where missing.
        rows: names, from above.
        columns: names, from the left.
        norm: from values to 0…1.
        text: format of the numbers.
    """
    _paint(axes, np.ma.masked_invalid(values), norm)
    _missing(axes, values)
    _name(axes, rows, columns)
    width, height = inches(axes)
    cell = width / values.shape[1], height / len(values)
    widest = max(text_width(text.format(v), 7.5) for v in _finite([values, [0.0]]))
    if cell[0] >= widest + 0.05 and cell[1] >= _FITS:
        _numbers(axes, values, norm, text)


def _paint(axes: Axes, values: np.ma.MaskedArray, norm: Normalize) -> None:
    """Cells with gaps between them, or one small image where they are too many."""
    if values.size <= _MOST_CELLS:
        axes.pcolormesh(
            np.arange(values.shape[1] + 1) - 0.5,
            np.arange(len(values) + 1) - 0.5,
            values,
            cmap=_COLOURS,
            norm=norm,
            edgecolors=GROUND,
            linewidth=0.8,
        )
    else:
        axes.imshow(values, _COLOURS, norm, aspect="auto", interpolation="none")
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_xlim(-0.5, values.shape[1] - 0.5)


def norm_of(values: Sequence[np.ndarray], low: float | None = 0.0) -> Normalize:
    """From the smallest (or a given) value to the largest."""
    seen = _finite(values)
    high = seen.max() if len(seen) else 1.0
    low = (seen.min() if len(seen) else 0.0) if low is None else low
    return Normalize(low, high if high > low else low + 1)


def _finite(values: Sequence[np.ndarray]) -> np.ndarray:
    flat = np.concatenate([np.ravel(v) for v in values])
    return flat[np.isfinite(flat)]


def _missing(axes: Axes, values: np.ndarray) -> None:
    for row, column in np.argwhere(~np.isfinite(values)):
        axes.text(column, row, "–", color=MUTED, ha="center", va="center")


def _name(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    axes.grid(False)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(range(len(columns)), columns)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def _numbers(axes: Axes, values, norm: Normalize, text: str) -> None:
    """Numbers in the cells, dark on light colours and light on dark ones."""
    for (row, column), value in np.ndenumerate(values):
        if not np.isfinite(value):
            continue
        red, green, blue, _ = _COLOURS(float(norm(value)))
        light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.52
        axes.text(
            column,
            row,
            text.format(value).replace("-", "\N{MINUS SIGN}"),
            color=_DARK if light else _LIGHT,
            fontsize=7.5,
            ha="center",
            va="center",
        )


def scale(figure, box: Sequence[float], norm: Normalize, text: str) -> None:
    """A strip of the colours with its two ends named.

    Args:
        figure: where.
        box: left, bottom, width, height, in shares of the figure.
        norm: of the heat map.
        text: format of the ends.
    """
    axes = figure.add_axes(box, label="scale")
    steps = np.linspace(norm.vmin, norm.vmax, 256)[None]
    ends = (norm.vmin, norm.vmax, 0, 1)
    axes.imshow(steps, _COLOURS, norm, aspect="auto", interpolation="none", extent=ends)
    axes.grid(False)
    axes.set_yticks([])
    middle = [0.0] if norm.vmin < 0 < norm.vmax else []
    ticks = [norm.vmin, *middle, norm.vmax]
    names = [text.format(t).replace("-", "\N{MINUS SIGN}") for t in ticks]
    axes.set_xticks(ticks, names)
    axes.get_xticklabels()[0].set_ha("left")
    axes.get_xticklabels()[-1].set_ha("right")
    axes.tick_params(length=2, labelsize=7.5, pad=2)
    for side in axes.spines.values():
        side.set(visible=True, color=FAINT)


def heat_panels(
    tables: Mapping[str, np.ndarray],
    rows: Sequence[str],
    columns: Sequence[str],
    norm: Normalize,
    *,
    width: float,
    across: int,
    heading: str,
    below: str = "",
    text: str = "{:.0f}",
    cell: float = 0.22,
) -> Figure:
    """Heat maps of the same rows and columns side by side, with one scale.

    Args:
        tables: title of a panel -> `[R, C]`.
        rows: names of rows.
        columns: names of columns; written at an angle where they need it.
        norm: from values to colours, shared.
        width: of the figure, inches.
        across: panels in a row.
        heading: what the numbers are.
        below: what columns are.
        text: format of numbers.
        cell: height of a row, inches.
    """
    left = 0.16 + max(text_width(name, 8.0) for name in rows)
    widest = max(text_width(name, 8.0) for name in columns)
    room = (width - left - 0.12 - 0.2 * (across - 1)) / across / len(columns)
    steep = widest > room
    space = Space(left, bottom=0.4 + (0.62 * widest if steep else 0.0))
    figure, all_axes = panels(
        list(tables),
        across,
        width,
        cell * len(rows),
        heading=heading,
        below=below,
        strip=0.36,
        space=space,
    )
    for axes, values in zip(all_axes, tables.values(), strict=True):
        heat(axes, values, rows, columns, norm, text=text)
        if steep:
            axes.tick_params(axis="x", rotation=45)
            for label in axes.get_xticklabels():
                label.set(ha="right", rotation_mode="anchor", rotation=45)
    tall = figure.get_figheight()
    box = (0.1 / width, 1 - 0.44 / tall, 1.4 / width, 0.1 / tall)
    scale(figure, box, norm, "{:.3g}")
    return figure
