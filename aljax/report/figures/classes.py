"""Classes: how well each is known, what it is taken for, and how often it is bought."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aljax.report.figures.heat import heat_panels, norm_of
from aljax.report.figures.lines import thousands
from aljax.report.figures.panels import Space, panels, text_width
from aljax.report.style import FAINT, INK, NARROW, WIDE, Look, shorten, styled

MOST = 40  # rows that can be read; more classes show their two ends


def ends(order: np.ndarray, most: int = MOST) -> np.ndarray:
    """Which classes to show: all, or those at the two ends of a measure, sorted by it.

    Args:
        order: the measure `[K]`, NaN last.
        most: how many fit.

    Returns:
        indices of classes.
    """
    if len(order) <= most:
        return np.arange(len(order))
    ranked = np.argsort(order, kind="stable")
    return np.concatenate([ranked[: most // 2], ranked[-(most // 2) :]])


def class_accuracy(
    accuracy: Mapping[str, np.ndarray],
    labels: Sequence[int],
    classes: Sequence[str],
    *,
    width: float = WIDE,
) -> Figure:
    """Heat maps of accuracy per class over labels, a panel for each title.

    Args:
        accuracy: title -> mean over trials `[B, K]`, fractions, NaN where missing.
        labels: of each cycle `[B]`.
        classes: names `[K]`.
        width: of the figure, inches.
    """
    last = _mean([table[-1] for table in accuracy.values()])
    shown = ends(last)
    tables = {name: 100 * table.T[shown] for name, table in accuracy.items()}
    few = " (the hardest and the easiest)" if len(shown) < len(classes) else ""
    with styled():
        return heat_panels(
            tables,
            [shorten(classes[k], 16) for k in shown],
            [thousands(count) for count in labels],
            norm_of(list(tables.values()), low=None),
            width=width,
            across=_across(len(tables), width),
            heading=f"Accuracy of each class, %{few}",
            below="Labels",
        )


def confusion(
    counts: Mapping[str, np.ndarray], classes: Sequence[str], *, width: float = WIDE
) -> Figure:
    """Confusion of the last cycle as shares of each true class, a panel per title.

    Args:
        counts: title -> counts summed over trials `[K, K]`, rows true classes.
        classes: names `[K]`.
        width: of the figure, inches.
    """
    tables = {}
    for name, table in counts.items():
        images = table.sum(1, keepdims=True)
        tables[name] = np.divide(
            100 * table, images, out=np.full(table.shape, np.nan), where=images > 0
        )
    # Of many classes only the picture can be read, so only some names are written.
    step = -(-len(classes) // MOST)
    names = [shorten(c, 12) if i % step == 0 else "" for i, c in enumerate(classes)]
    with styled():
        return heat_panels(
            tables,
            names,
            names,
            norm_of([np.array([0.0, 100.0])]),
            width=width,
            across=_across(len(tables), width, 3),
            heading="Share of a true class (row) taken for a class (column), %",
            cell=0.24 if len(classes) <= MOST else 6 / len(classes),
        )


def _across(count: int, width: float, most: int = 4) -> int:
    return min(count, 1 if width < WIDE / 2 else most)


def _mean(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of each column over the rows that have it; NaN where none has."""
    return np.ma.masked_invalid(rows).mean(0).filled(np.nan)


def bought(
    ratios: Mapping[str, np.ndarray],
    pool: np.ndarray,
    classes: Sequence[str],
    looks: Mapping[str, Look],
    *,
    width: float = NARROW,
) -> Figure:
    """Shares of the classes among what was bought after the first cycle, as dots.

    A line joins a class's dots; a tick says how large the class is in the pool.

    Args:
        ratios: name -> share of each class `[K]`, NaN where not recorded.
        pool: share of each class in the pool `[K]`.
        classes: names `[K]`.
        looks: of each name.
        width: of the figure, inches.
    """
    far = _mean([share - pool for share in ratios.values()])
    shown = ends(far)
    rows = [shorten(classes[k], 16) for k in shown]
    with styled():
        figure, (axes,) = panels(
            [""],
            1,
            width,
            0.25 * len(shown),
            heading="Share of each class in what was bought, %",
            below="%  (upright tick: its share of the pool)",
            key=[looks[name] for name in ratios],
            space=Space(left=0.16 + max(map(text_width, rows))),
        )
        table = 100 * np.array([share[shown] for share in ratios.values()])
        _join(axes, table)
        ticks = {"marker": "|", "markersize": 11, "markeredgewidth": 1.6}
        _dots(axes, 100 * pool[shown], Look("_pool", INK, depth=2.5), ticks)
        for name, values in zip(ratios, table, strict=True):
            dots = {"marker": looks[name].marker, "markersize": 5.5}
            _dots(axes, values, looks[name], dots)
        axes.set_yticks(range(len(rows)), rows)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(axis="x")
    return figure


def _dots(axes: Axes, values: np.ndarray, look: Look, marks: dict) -> None:
    """A mark for each class, from above."""
    axes.plot(
        values,
        range(len(values)),
        linestyle="",
        color=look.colour,
        label=look.label,
        zorder=look.depth,
        **marks,
    )


def _join(axes: Axes, table: np.ndarray) -> None:
    """A faint line from the smallest to the largest share of each class."""
    known = np.isfinite(table).any(0)
    low = np.where(np.isfinite(table), table, np.inf).min(0)
    high = np.where(np.isfinite(table), table, -np.inf).max(0)
    rows = np.flatnonzero(known)
    axes.hlines(rows, low[known], high[known], color=FAINT, linewidth=1.0)
