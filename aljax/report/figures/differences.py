"""Paired differences over labels, and how often one beats another."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from aljax.report.figures import lines
from aljax.report.figures.curves import MOST
from aljax.report.figures.heat import heat_panels, norm_of
from aljax.report.figures.lines import Series
from aljax.report.figures.panels import Space, panels, text_width
from aljax.report.style import FAINT, INK, NARROW, WIDE, Look, shorten, styled

Drawn = list[tuple[Series, Look]]


def differences(
    found: Mapping[str, Mapping[str, Series]],
    looks: Mapping[str, Look],
    *,
    against: Look,
    width: float = WIDE,
    heading: str = "Accuracy minus that of random, points",
) -> Figure:
    """Draws differences over labels: means, 95 % t intervals, and every trial faintly.

    More than eight names get a panel each, of the first panel only, with the others in
    grey behind.

    Args:
        found: title of a panel -> name -> differences by trial, points.
        looks: of each name.
        against: the look of what they are compared with: the line at zero.
        width: of the figure, inches.
        heading: what is subtracted from what.
    """
    shown = _arranged(found, looks)
    columns = _columns(len(shown), width)
    named = width / columns >= 2.9
    ends = [*looks.values(), against] if len(looks) <= MOST else [against]
    right = 0.3 + max(text_width(look.label) for look in (*looks.values(), against))
    every = [series for drawn in shown.values() for series, _ in drawn]
    labels = np.concatenate([series.labels for series in every])
    with styled():
        figure, all_axes = panels(
            list(shown),
            columns,
            width,
            {1: 3.2, 2: 2.4}.get(columns, 1.6) if width > WIDE / 2 else 2.0,
            heading=heading,
            below="Labels",
            key=() if named else ends,
            space=Space(right=right, across=right + 0.12) if named else Space(),
        )
        lines.set_limits(all_axes[0], labels, [*lines.extent(every), 0.0])
        for axes, drawn in zip(all_axes, shown.values(), strict=True):
            lines.zero_line(axes, against)
            for series, look in drawn:
                alone = not look.marker
                lines.draw(axes, series, look, among=len(drawn), mean_only=alone)
            if named:
                known = [(series.last, look) for series, look in drawn if look.marker]
                lines.name_ends(axes, [(0.0, against), *known])
        lines.format_axes(all_axes, labels, signed=True)
    return figure


def _arranged(
    found: Mapping[str, Mapping[str, Series]], looks: Mapping[str, Look]
) -> dict[str, Drawn]:
    """What each panel shows; of many names one in colours, the others in grey."""
    if len(looks) <= MOST:
        return {
            title: [(series, looks[name]) for name, series in part.items()]
            for title, part in found.items()
        }
    part = next(iter(found.values()))
    shown = {}
    for name, own in part.items():
        others = [
            (series, replace(looks[other], colour=FAINT, marker="", label="_others"))
            for other, series in part.items()
            if other != name
        ]
        shown[looks[name].label] = [*others, (own, looks[name])]
    return shown


def _columns(count: int, width: float) -> int:
    if width < WIDE / 2:
        return 1 if count <= 2 else 2
    return count if count <= 2 else 3 if count % 4 else 4


def penalties(
    matrix: pd.DataFrame, labels: Sequence[str], *, most: float, width: float = NARROW
) -> Figure:
    """Draws the pairwise penalty matrix of Ash et al. 2020, and the means of columns.

    Args:
        matrix: square; a cell counts how often the row's name beat the column's.
        labels: what people call the names, in the matrix's order.
        most: the largest value that a cell can have.
        width: of the figure, inches.
    """
    values = matrix.to_numpy(float)
    others = len(values) - 1
    beaten = np.nansum(values, 0, keepdims=True) / max(others, 1)
    values = values.copy()
    np.fill_diagonal(values, np.nan)
    norm = norm_of([np.array([0.0, most])])
    with styled():
        figure = heat_panels(
            {"": np.concatenate([values, beaten])},
            [*map(shorten, labels), "beaten, mean"],
            list(map(shorten, labels)),
            norm,
            width=width,
            across=1,
            heading=f"Row beats column: 0 never, {most:g} always",
            text="{:.2f}",
            cell=0.3,
        )
        axes = figure.axes[0]
        axes.axhline(others + 0.5, color=INK, linewidth=1.2)
    return figure
