"""Curves: test accuracy, or another field, over labels."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from aljax.report.figures import lines
from aljax.report.figures.lines import Series
from aljax.report.figures.panels import Space, panels, text_width
from aljax.report.reference import Curve
from aljax.report.settings import Setting
from aljax.report.style import FAINT, KINDS, MUTED, WIDE, Look, Palette, called, styled

PUBLISHED = Look("published, not run here", MUTED, "", lines.DOTS)
MOST = 8  # series that colours tell apart


@dataclass(frozen=True)
class Panel:
    """One small multiple: which part of the setting it shows."""

    title: str
    fixed: Mapping[str, str]  # kind -> name
    series: Mapping[str, Series]  # by name of the kind that varies


def curves(
    setting: Setting,
    by: str = "strategy",
    *,
    palette: Palette | None = None,
    width: float = WIDE,
    field: str = "test_accuracy",
    heading: str = "Test accuracy, %",
    only: Mapping[str, Sequence[str]] | None = None,
    reference: Sequence[Curve] = (),
) -> Figure:
    """Draws a field over labels, one line per name, a panel for each of the rest.

    The line is the mean over trials, the band its 95 % t interval (three trials and
    more), thin lines are trials. More than eight names get a panel each, the others in
    grey behind.

    Args:
        setting: runs that may be compared.
        by: what lines tell apart: "strategy", "optimizer" or "model".
        palette: of the whole report; None: of this setting.
        width: of the figure, inches.
        field: of a row, a fraction, drawn in percent.
        heading: what the field is, with its unit.
        only: names to show of a kind; None: all.
        reference: published curves to lay under panels of the same network, optimizer
            and strategies.

    Returns:
        the figure; ValueError where no run is left to draw.
    """
    palette = palette or Palette(setting.runs)
    shown = facets(setting, by, field, only or {})
    if not shown:
        raise ValueError(f"{field}: no run of {only} in this setting.")
    looks = {name: palette.look(by, name) for name in _names(shown, setting, by)}
    return draw(
        shown,
        looks,
        by,
        width=width,
        heading=heading,
        under=comparable(reference, shown, by),
    )


def draw(
    shown: Sequence[Panel],
    looks: Mapping[str, Look],
    by: str,
    *,
    width: float,
    heading: str = "Test accuracy, %",
    under: Sequence[Curve] = (),
) -> Figure:
    """Draws panels of one kind of lines; see `curves`.

    Args:
        shown: at least one.
        looks: of every name in them, in their order.
        by: what the names are of.
        width: of the figure, inches.
        heading: what is drawn, in percent or points.
        under: published curves, cut to these panels.
    """
    if len(looks) > MOST:
        return _one_by_one(shown, looks, width, heading)
    columns = _columns(shown, width)
    named = width / columns >= (2.9 if len(looks) > 1 else 99)
    key = [] if named else list(looks.values())
    with styled():
        figure, all_axes = panels(
            [panel.title for panel in shown],
            columns,
            width,
            _height(columns, width),
            heading=heading,
            below="Labels",
            key=key + [PUBLISHED] * bool(under),
            space=_space(list(looks.values()) if named else ()),
        )
        _limit(all_axes[0], shown, under)
        for axes, panel in zip(all_axes, shown, strict=True):
            _fill(axes, panel, looks, by, under, named)
        lines.format_axes(all_axes, counts(shown))
    return figure


def facets(
    setting: Setting,
    by: str,
    field: str,
    only: Mapping[str, Sequence[str]],
) -> list[Panel]:
    """Splits a setting into panels: every combination of the two kinds but `by`."""
    rest = [kind for kind in KINDS if kind != by]
    cells: dict[tuple[str, str], dict[str, Series]] = {}
    for cell in setting.cells:
        names = dict(zip(KINDS, cell, strict=True))
        if any(names[kind] not in allowed for kind, allowed in only.items()):
            continue
        place = cells.setdefault(tuple(names[kind] for kind in rest), {})
        place[names[by]] = Series.of(setting.cell(*cell), field, 100.0)
    many = [len({key[i] for key in cells}) > 1 for i in range(2)]
    made = []
    for key, series in cells.items():
        fixed = dict(zip(rest, key, strict=True))
        telling = itertools.compress(fixed.items(), many)
        title = " · ".join(called(kind, name) for kind, name in telling)
        made.append(Panel(title, fixed, series))
    return made


def _names(shown: Sequence[Panel], setting: Setting, by: str) -> list[str]:
    """The names of a kind that are drawn, in their usual order."""
    drawn = {name for panel in shown for name in panel.series}
    return [name for name in setting.levels(by) if name in drawn]


def _columns(shown: Sequence[Panel], width: float) -> int:
    """Panels in a row: the names of the second kind, where they fit."""
    if width < WIDE / 2:
        return 1 if len(shown) <= 2 else 2
    second = [list(panel.fixed.values())[1] for panel in shown]
    across = len(set(second))
    if 2 <= across <= 5 and len(shown) % across == 0:
        return across
    return min(len(shown), 3 if len(shown) % 4 else 4)


def _height(columns: int, width: float) -> float:
    """Inches of a panel: flatter the wider it is."""
    return (
        {1: 3.9, 2: 2.6}.get(columns, 1.75)
        if width > WIDE / 2
        else 1.35 + 1.15 * (columns == 1)
    )


def _space(named: Sequence[Look]) -> Space:
    if not named:
        return Space()
    right = 0.3 + max(text_width(look.label) for look in named)
    return Space(right=right, across=right + 0.12)


def _limit(axes, shown: Sequence[Panel], under: Sequence[Curve]) -> None:
    every = [s for panel in shown for s in panel.series.values()]
    published = [100 * value for curve in under for value in curve.accuracy]
    lines.set_limits(axes, counts(shown), lines.extent(every, (0.0, 100.0)) + published)


def comparable(
    reference: Sequence[Curve], shown: Sequence[Panel], by: str
) -> list[Curve]:
    """The published curves that belong into a panel, cut to its range of labels.

    None where there are so many names that each has a panel.
    """
    if len({name for panel in shown for name in panel.series}) > MOST:
        return []
    known = counts(shown)
    places = [dict(panel.fixed) | {by: n} for panel in shown for n in panel.series]
    return [
        cut
        for curve in reference
        if {kind: getattr(curve, kind) for kind in KINDS} in places
        and len((cut := lines.cut(curve, known.min(), known.max())).labelled) > 1
    ]


def _fill(axes, panel: Panel, looks, by: str, under, named: bool) -> None:
    own = {
        curve: looks[getattr(curve, by)]
        for curve in under
        if all(getattr(curve, kind) == name for kind, name in panel.fixed.items())
    }
    lines.draw_reference(axes, own)
    for name, look in looks.items():
        if name in panel.series:
            lines.draw(axes, panel.series[name], look, among=len(panel.series))
    if named:
        ends = [(s.last, looks[name]) for name, s in panel.series.items()]
        lines.name_ends(axes, ends)


def counts(shown: Sequence[Panel]) -> np.ndarray:
    """All counts of labels in some panels."""
    every = [s.labels for panel in shown for s in panel.series.values()]
    return np.unique(np.concatenate(every))


def _one_by_one(shown, looks: Mapping[str, Look], width: float, heading: str) -> Figure:
    """A panel for each name of each facet; the others of it behind, in grey."""
    places = [
        (panel, name) for panel in shown for name in looks if name in panel.series
    ]
    columns = 2 if width < WIDE / 2 else min(4, len(places))
    titles = [
        " · ".join(filter(None, (looks[name].label, panel.title)))
        for panel, name in places
    ]
    with styled():
        figure, all_axes = panels(
            titles,
            columns,
            width,
            _height(columns, width),
            heading=heading,
            below="Labels",
        )
        _limit(all_axes[0], shown, ())
        for axes, (panel, name) in zip(all_axes, places, strict=True):
            for other, series in panel.series.items():
                if other != name:
                    grey = Look(f"_{other}", FAINT, "", looks[other].dashes, 1.9)
                    lines.draw(axes, series, grey, mean_only=True)
            lines.draw(axes, panel.series[name], looks[name])
        lines.format_axes(all_axes, counts(shown))
    return figure
