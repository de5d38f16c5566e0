"""Calibration: whether a network is as often right as it says."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from aljax.report.figures.panels import panels
from aljax.report.style import FAINT, MUTED, WIDE, Look, styled


@dataclass(frozen=True, eq=False)
class Reliability:
    """Bins of equal width over confidence, of all trials together."""

    images: np.ndarray  # [bins]
    confidence: np.ndarray  # mean of each bin, NaN where empty
    accuracy: np.ndarray  # share of right answers of each bin, NaN where empty

    @property
    def gap(self) -> float:
        """Mean confidence minus accuracy, in points."""
        sure = np.nansum(self.images * (self.confidence - self.accuracy))
        return float(100 * sure / self.images.sum())


def pooled(trials: list[Mapping[str, np.ndarray]]) -> Reliability:
    """Adds up the bins of several trials: means weighted by images."""
    images = np.array([trial["images"] for trial in trials], float)

    def mean(part: str) -> np.ndarray:
        values = np.ma.masked_invalid([trial[part] for trial in trials])
        return np.ma.average(values, 0, images).filled(np.nan)

    return Reliability(images.sum(0), mean("confidence"), mean("accuracy"))


def reliability(
    bins: Mapping[str, Reliability], looks: Mapping[str, Look], *, width: float = WIDE
) -> Figure:
    """Reliability diagrams (Guo et al. 2017): accuracy over confidence, a panel a name.

    Beneath the diagonal a network is surer than it is right. Bars at the foot are the
    shares of images in each bin, to their own scale.

    Args:
        bins: of the last cycle, by name.
        looks: of each name.
        width: of the figure, inches.
    """
    columns = 2 if width < WIDE / 2 else min(4, len(bins))
    side = (min(width, 2.4 * columns) - 0.54 - 0.2 * (columns - 1)) / columns
    with styled():
        figure, all_axes = panels(
            [looks[name].label for name in bins],
            columns,
            min(width, 2.4 * columns),
            side,
            heading="Share of right answers, %",
            below="Confidence, %",
        )
        for axes, (name, found) in zip(all_axes, bins.items(), strict=True):
            _draw(axes, found, looks[name])
    return figure


def _draw(axes, found: Reliability, look: Look) -> None:
    axes.set(xlim=(0, 100), ylim=(0, 100))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([0, 50, 100]))
    width = 100 / len(found.images)
    foot = 25 * found.images / max(found.images.sum(), 1)
    axes.bar(
        width * (np.arange(len(foot)) + 0.5),
        foot,
        width=0.85 * width,
        color=FAINT,
        label="_images",
    )
    axes.plot([0, 100], [0, 100], color=MUTED, linewidth=1.0, dashes=(4, 3))
    known = np.isfinite(found.confidence)
    axes.plot(
        100 * found.confidence[known],
        100 * found.accuracy[known],
        color=look.colour,
        marker=look.marker,
        label=look.label,
    )
