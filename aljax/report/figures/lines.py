"""Series over labels: a mean with its interval, and every trial faintly behind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from aljax.report.figures.panels import LINE, inches
from aljax.report.record import Record
from aljax.report.reference import Curve
from aljax.report.statistics import Estimate, estimate
from aljax.report.style import GROUND, INK, Look

BAND, TRIALS = 0.2, 0.25  # opacity
DOTS = (0, (1, 1.8))
STEPS = [1, 2, 2.5, 5, 10]  # of ticks that people read easily


@dataclass(frozen=True, eq=False)
class Series:
    """One curve of several trials: labels `[B]`, values `[T, B]`, NaN where missing."""

    labels: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, runs: Sequence[Record], field: str, factor: float = 1.0) -> "Series":
        """The values of a field of the rows, times a factor; one trial per run."""
        labels = np.unique(np.concatenate([run.labelled for run in runs]))
        values = np.full((len(runs), len(labels)), np.nan)
        for row, run in zip(values, runs, strict=True):
            row[np.searchsorted(labels, run.labelled)] = factor * run.values(field)
        return cls(labels, values)

    @cached_property
    def points(self) -> tuple[Estimate, ...]:
        """At each label count, over the trials that have a value there."""
        return tuple(estimate(column[np.isfinite(column)]) for column in self.values.T)

    def part(self, name: str) -> np.ndarray:
        """`mean`, `low` or `high` at each label count `[B]`; NaN: there is none."""
        return np.array([getattr(point, name) for point in self.points])

    @property
    def last(self) -> float:
        """The mean's last value that there is; NaN where there is none."""
        mean = self.part("mean")
        known = mean[np.isfinite(mean)]
        return float(known[-1]) if len(known) else float("nan")


def draw(
    axes: Axes,
    series: Series,
    look: Look,
    *,
    among: int = 1,
    mean_only: bool = False,
) -> None:
    """Draws a series: mean as a line, 95 % t interval as a band, trials as thin lines.

    With fewer than three trials there is no band, and the trials are what one sees.
    Nothing is smoothed, and a gap in the values is a gap in the line. Where more than
    three series lie on each other, bands and trials are fainter.

    Args:
        axes: where.
        series: what.
        look: how.
        among: how many series the axes have.
        mean_only: whether to leave out band and trials.
    """
    faint, small = min(1.0, 3 / among), inches(axes)[0] < 2.6
    if not mean_only:
        _draw_band(axes, series, look, faint * BAND)
    if len(series.values) > 1 and not mean_only:
        trials = [np.column_stack([series.labels, row]) for row in series.values]
        style = {"colors": look.colour, "linewidths": 0.9, "alpha": faint * TRIALS}
        drawn = LineCollection(
            trials, **style, zorder=look.depth - 0.5, clip_on=False, label="_trials"
        )
        axes.add_collection(drawn)
    axes.plot(
        series.labels,
        series.part("mean"),
        color=look.colour,
        linestyle=look.dashes,
        linewidth=1.0 if mean_only else 1.3 if small else 1.7,
        marker=look.marker,
        markersize=3.0 if small else 4.5,
        markeredgecolor=GROUND,
        markeredgewidth=0.0 if small else 0.5,
        zorder=look.depth,
        clip_on=False,  # the limits hold all of it
        label=look.label,
    )


def _draw_band(axes: Axes, series: Series, look: Look, opacity: float) -> None:
    """The interval of the mean, where there are trials enough for one."""
    low, high = series.part("low"), series.part("high")
    if np.isfinite(low).any():
        axes.fill_between(
            series.labels,
            low,
            high,
            color=look.colour,
            alpha=opacity,
            linewidth=0,
            zorder=look.depth - 0.6,
            label="_band",
        )


def name_ends(axes: Axes, ends: Sequence[tuple[float, Look]]) -> None:
    """Writes each name right of the axes at the height where its line ends.

    Names that would lie on each other are moved apart, with a thin line from each to
    its end. Call it when the limits of the axes are final.
    """
    ends = sorted((end for end in ends if np.isfinite(end[0])), key=lambda end: end[0])
    low, high = axes.get_ylim()
    gap = 0.85 * LINE / inches(axes)[1]
    wanted = [(value - low) / (high - low) for value, _ in ends]
    to_axes, inch = axes.transAxes, 1 / inches(axes)[0]
    for y, want, (_, look) in zip(apart(wanted, gap), wanted, ends, strict=True):
        axes.plot(
            [1 + inch * step for step in (0.02, 0.1, 0.16)],
            [want, y, y],
            color=look.colour,
            linewidth=1.0,
            transform=to_axes,
            clip_on=False,
            label="_leader",
        )
        axes.text(
            1 + 0.2 * inch,
            y,
            look.label,
            color=INK,
            fontsize=8.5,
            va="center",
            transform=to_axes,
        )


def apart(wanted: Sequence[float], gap: float) -> list[float]:
    """Moves sorted heights as little as needed to lie a gap apart (least squares)."""
    groups: list[list[float]] = []  # [mean of wanted starts, size]
    for i, height in enumerate(wanted):
        groups.append([height - i * gap, 1])
        while len(groups) > 1 and groups[-2][0] > groups[-1][0]:
            start, size = groups.pop()
            total = groups[-1][0] * groups[-1][1] + start * size
            groups[-1] = [total / (groups[-1][1] + size), groups[-1][1] + size]
    starts = [start for start, size in groups for _ in range(int(size))]
    return [start + i * gap for i, start in enumerate(starts)]


def set_limits(axes: Axes, labels: np.ndarray, values: Sequence[float]) -> None:
    """Limits that hold all counts of labels and all values, with a little air."""
    seen = np.asarray(values, float)
    seen = seen[np.isfinite(seen)]
    low, high = (seen.min(), seen.max()) if len(seen) else (0.0, 1.0)
    air = 0.06 * (high - low) or 0.5
    axes.set_ylim(low - air, high + air)
    air = 0.04 * (labels.max() - labels.min()) or 0.5
    axes.set_xlim(labels.min() - air, labels.max() + 0.5 * air)


def extent(
    all_series: Sequence[Series], bounds: tuple[float, float] = (-np.inf, np.inf)
) -> list[float]:
    """Everything that is drawn of some series: trials and the ends of bands.

    Args:
        all_series: drawn on the same axes.
        bounds: beyond which no value can lie, though an interval of few trials may.
    """
    parts = [
        np.concatenate([s.values.ravel(), s.part("low"), s.part("high")])
        for s in all_series
    ]
    return np.clip(np.concatenate(parts), *bounds).tolist()


def thousands(value: float, _: object = None) -> str:
    """Labels as people write them: 500, 2k, 2.5k, 1M."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:.4g}{name}"
    return f"{value:g}"


def format_axes(
    all_axes: Sequence[Axes], labels: np.ndarray, signed: bool = False
) -> None:
    """Ticks of panels that share axes: at counts of labels, all or as many as fit.

    Args:
        all_axes: of the figure.
        labels: counts that networks were trained with.
        signed: whether values are differences.
    """
    axes, labels = all_axes[0], np.unique(labels)
    step = -(-len(labels) // max(2, int(inches(axes)[0] / 0.42)))

    def value(number: float, _: object) -> str:
        text = f"{number:+.4g}" if signed and number else f"{number:.4g}"
        return text.replace("-", "\N{MINUS SIGN}")

    axes.xaxis.set_major_locator(FixedLocator(labels[::-1][::step][::-1]))
    axes.xaxis.set_major_formatter(FuncFormatter(thousands))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=STEPS, min_n_ticks=3))
    axes.yaxis.set_major_formatter(FuncFormatter(value))


def draw_reference(axes: Axes, curves: Mapping[Curve, Look]) -> None:
    """Published curves, dotted and without markers, beneath all that was run here."""
    for curve, look in curves.items():
        axes.plot(
            curve.labelled,
            100 * curve.accuracy,
            color=look.colour,
            linestyle=DOTS,
            linewidth=1.2,
            zorder=1.5,
            label=f"_reference {curve.name}",
        )


def cut(curve: Curve, low: int, high: int) -> Curve:
    """The part of a published curve between two counts of labels."""
    inside = (curve.labelled >= low) & (curve.labelled <= high)
    sd = None if curve.sd is None else curve.sd[inside]
    return replace(
        curve,
        labelled=curve.labelled[inside],
        accuracy=curve.accuracy[inside],
        sd=sd,
    )


def zero_line(axes: Axes, look: Look) -> None:
    """Where there is no difference."""
    axes.axhline(
        0.0,
        color=look.colour,
        linestyle=look.dashes,
        linewidth=1.3,
        zorder=1.8,
        label="_zero",
    )
