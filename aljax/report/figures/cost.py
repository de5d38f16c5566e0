"""What accuracy costs: seconds and memory, and where the time went."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from aljax.report.figures.lines import STEPS, apart
from aljax.report.figures.panels import LINE, Space, inches, panels, text_width
from aljax.report.matches import BASELINE
from aljax.report.style import GROUND, INK, MUTED, NARROW, Look, Palette, called, styled

_MOST_NAMED = 8  # points
PARTS = {
    "compile_seconds": ("compiling", "#9aa3ad"),
    "train_seconds": ("training", "#3b6fa0"),
    "evaluate_seconds": ("evaluating", "#8fb8d8"),
    "query_seconds": ("querying", "#d9a441"),
}


def cost(
    table: pd.DataFrame,
    field: str,
    palette: Palette,
    *,
    width: float = NARROW,
    below: str = "Training seconds of all cycles",
    factor: float = 1.0,
) -> Figure:
    """Draws last accuracy over a cost: colour tells optimizers, markers networks.

    Random, beside other strategies, is hollow.

    Args:
        table: from `costs`.
        field: the column of the cost; NaN where not recorded is left out. Over training
            seconds, a line joins the Pareto front.
        palette: of the report.
        width: of the figure, inches.
        below: what the cost is, with its unit.
        factor: that gives the field this unit.
    """
    known = table[np.isfinite(table[field].astype(float))]
    with styled():
        figure, (axes,) = panels(
            [""],
            1,
            width,
            2.5,
            heading="Test accuracy at the last budget, %",
            below=below,
            key=_key(table, palette),
        )
        if field == "train_seconds":
            best = known[known["front"].astype(bool)].sort_values([field, "accuracy"])
            axes.plot(
                factor * best[field],
                100 * best["accuracy"],
                drawstyle="steps-post",
                color=MUTED,
                linewidth=1.0,
                label="_front",
                zorder=1.5,
            )
        several = table["strategy"].nunique() > 1
        for row in known.itertuples():
            colour = palette.look("optimizer", row.optimizer).colour
            hollow = several and row.strategy == BASELINE
            axes.plot(
                [factor * getattr(row, field)],
                [100 * row.accuracy],
                linestyle="",
                marker=palette.look("model", row.model).marker,
                markersize=6 if hollow else 7,
                color=GROUND if hollow else colour,
                markeredgecolor=colour if hollow else GROUND,
                markeredgewidth=1.5 if hollow else 1.0,
                label=f"_{row.model} {row.optimizer} {row.strategy}",
            )
        _name_points(axes, known, factor * known[field].astype(float))
        axes.grid(axis="x")
        _cost_axis(axes, factor * known[field].astype(float))
    return figure


def _key(table: pd.DataFrame, palette: Palette) -> list[Look]:
    """Optimizers as colours without markers, networks as markers without colours."""
    key = [
        palette.look("optimizer", name) for name in dict.fromkeys(table["optimizer"])
    ]
    key = [Look(look.label, look.colour, "") for look in key]
    models = [palette.look("model", name) for name in dict.fromkeys(table["model"])]
    return key + [Look(look.label, INK, look.marker, "") for look in models]


def _name_points(axes: Axes, known: pd.DataFrame, costs: pd.Series) -> None:
    """Writes the strategy beside each point, while there are few or one pair.

    Names that would lie on each other are moved apart, with a thin line to their point.
    """
    pairs = len(known.drop_duplicates(["model", "optimizer"]))
    many = len(known) > _MOST_NAMED and pairs > 1
    if many or known["strategy"].nunique() < 2:
        return
    leader = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.6}
    (low, high), height = axes.get_ylim(), inches(axes)[1]
    points = known.assign(x=costs, y=100 * known["accuracy"]).sort_values("y")
    right = points["x"] <= (costs.min() + costs.max()) / 2
    for side, some in ((1, points[right]), (-1, points[~right])):
        heights = [height * (y - low) / (high - low) for y in some["y"]]
        moved = np.subtract(apart(heights, 0.8 * LINE), heights)
        for row, up in zip(some.itertuples(), moved, strict=True):
            far = abs(up) > 0.3 * LINE
            axes.annotate(
                called("strategy", row.strategy),
                (row.x, row.y),
                (side * (16 if far else 6), 72 * up),
                textcoords="offset points",
                arrowprops=leader if far else None,
                color=MUTED,
                fontsize=7.5,
                ha="left" if side > 0 else "right",
                va="center",
            )


def _cost_axis(axes: Axes, values: pd.Series) -> None:
    """A logarithmic axis where costs differ tenfold, else one that is even."""
    text = FuncFormatter(lambda value, _: f"{value:,.4g}")
    if len(values) and values.min() > 0 and values.max() > 10 * values.min():
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=STEPS))
    axes.xaxis.set_major_formatter(text)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=STEPS))


def seconds(table: pd.DataFrame, *, width: float = NARROW) -> Figure:
    """Draws where the time of a pair went: bars of stacked seconds, from zero.

    Args:
        table: a line per model and optimizer with the columns of `PARTS`, seconds; a
            part that was not recorded is NaN, left out and said in the name.
        width: of the figure, inches.
    """
    names = [_pair(row) for row in table.itertuples()]
    looks = [Look(name, colour, "s", "") for name, colour in PARTS.values()]
    with styled():
        figure, (axes,) = panels(
            [""],
            1,
            width,
            0.1 + 1.35 * LINE * len(table),
            heading="Seconds of a whole run, mean over trials and strategies",
            key=looks,
            space=Space(left=0.16 + max(text_width(name) for name in names)),
        )
        start = np.zeros(len(table))
        for field, (name, colour) in PARTS.items():
            values = table[field].astype(float).to_numpy()
            length = np.where(np.isfinite(values), values, 0.0)
            axes.barh(
                range(len(table)),
                length,
                left=start,
                height=0.68,
                color=colour,
                label=name,
            )
            start += length
        axes.set_yticks(range(len(table)), names)
        axes.set_ylim(len(table) - 0.4, -0.6)
        axes.set_xlim(0, None)
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x")
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=STEPS))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.4g}"))
    return figure


def _pair(row) -> str:
    missing = [PARTS[f][0] for f in PARTS if not np.isfinite(float(getattr(row, f)))]
    pair = f"{called('model', row.model)} + {called('optimizer', row.optimizer)}"
    return pair + (f" ({', '.join(missing)} not recorded)" if missing else "")
