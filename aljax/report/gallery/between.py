"""The picture of what settings change."""

import itertools
from collections.abc import Sequence

from aljax.report import names, wording
from aljax.report.comparisons import between_settings
from aljax.report.figures.curves import MOST, Panel, draw
from aljax.report.figures.lines import Series
from aljax.report.gallery.picture import Picture
from aljax.report.settings import Cell, Setting
from aljax.report.statistics import FEWEST
from aljax.report.style import KINDS, called, looks_of_settings

_LONG = 20  # letters of a name from which on it does not fit beside a line
_MOST_PANELS = 12
_MOST_TOLD = 4  # panels whose last values the text for the blind lists


def by_setting(settings: Sequence[Setting]) -> Picture | None:
    """Accuracy under every setting that is compared with the first; None: under none.

    Args:
        settings: of one report, those with cells.
    """
    family = between_settings(settings)
    if not family:
        return None
    blocks = {block for comparison in family for block in comparison.match.blocks}
    cells = [cell for cell in settings[0].cells if cell in blocks]
    compared = {comparison.first for comparison in family}
    kept = [s for s in settings if s is settings[0] or s.name in compared]
    if len(cells) > (_MOST_PANELS if len(kept) <= MOST else 1):
        cells = cells[:1]
    labels = {s.name: s.name for s in kept}
    if max(map(len, labels)) > _LONG:
        labels = {s.name: f"setting {s.number}" for s in kept}
    many = [len({cell[place] for cell in cells}) > 1 for place in range(len(KINDS))]
    panels = [_panel(cell, many, kept, labels) for cell in cells]
    counts = [len(s.values) for panel in panels for s in panel.series.values()]
    looks = looks_of_settings(list(labels.values()))
    return Picture(
        "accuracy_by_setting",
        "Accuracy over labels, by setting",
        _caption(labels, cells, counts),
        _text(panels),
        lambda width: draw(panels, looks, "setting", width=width),
    )


def _panel(
    cell: Cell, many: Sequence[bool], kept: Sequence[Setting], labels: dict[str, str]
) -> Panel:
    fixed = dict(zip(KINDS, cell, strict=True))
    telling = itertools.compress(fixed.items(), many)
    series = {
        labels[s.name]: Series.of(s.cell(*cell), "test_accuracy", 100.0)
        for s in kept
        if s.cell(*cell)
    }
    return Panel(" · ".join(called(*it) for it in telling), fixed, series)


def _caption(
    labels: dict[str, str], cells: Sequence[Cell], counts: Sequence[int]
) -> str:
    first, *_ = labels.values()
    said = [f"{short} is “{name}”" for name, short in labels.items() if short != name]
    key = wording.sentence(names.listed(said)) + " " if said else ""
    shown = f"Shown is {names.cell_name(*cells[0])}. " if len(cells) == 1 else ""
    return (
        f"{shown}The dashed line is {first}, from which the others differ. {key}Lines "
        f"are means over n = {wording.trials(counts)}, thin lines the trials, bands "
        f"95 % t intervals of the mean (from {FEWEST} trials on)."
        f"{wording.unequal(counts)}"
    )


def _text(panels: Sequence[Panel]) -> str:
    said = [
        f"{panel.title} {name} {series.last:.1f} %".strip()
        for panel in panels[:_MOST_TOLD]
        for name, series in panel.series.items()
    ]
    return f"Line chart. Last means: {', '.join(said)}."
