"""Pictures of accuracy: over labels, and against what one compares with."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from aljax.report import names
from aljax.report.budgets import budget_differences, penalties
from aljax.report.comparisons import BASELINE
from aljax.report.figures.curves import curves, facets, names_of
from aljax.report.figures.differences import differences
from aljax.report.figures.differences import penalties as penalties_figure
from aljax.report.gallery.picture import Missing, Picture, stem, trials
from aljax.report.reference import Curve
from aljax.report.settings import Setting
from aljax.report.style import WIDE, Palette, called

_BY = {
    "strategy": ("by strategy", "network and optimizer"),
    "optimizer": ("by optimizer", "network and strategy"),
    "model": ("by network", "optimizer and strategy"),
}
_MOST_NAMED = 4  # panels whose last values the text for the blind lists
_MOST_PANELS = 12  # pairs that get a panel of differences


def main(
    setting: Setting, palette: Palette, reference: Sequence[Curve] = ()
) -> Picture:
    """The figure that a page opens with: every pair, every strategy."""
    drawn = [c for c in reference if c.data == setting.data and _shown(setting, c)]
    caption = (
        "A strategy pays where its line lies above the grey dashed one of random. "
        if BASELINE in setting.strategies and len(setting.strategies) > 1
        else ""
    )
    return Picture(
        stem(setting, "accuracy_by_strategy"),
        "Accuracy over labels, by strategy",
        caption + trials(setting, setting.cells) + _published(drawn),
        _last_values(setting, "strategy", {}),
        lambda width: curves(setting, palette=palette, width=width, reference=drawn),
    )


def _published(drawn: Sequence[Curve]) -> str:
    """What dotted lines are, and whose."""
    sources: dict[str, list[str]] = {}
    for curve in drawn:
        about = f"n = {curve.n}; {curve.source}" if curve.n else curve.source
        sources.setdefault(about, []).append(curve.name)
    said = [f"{names.listed(found)} ({about})" for about, found in sources.items()]
    return f" Dotted lines are published, not run here: {'; '.join(said)}." * bool(said)


def _shown(setting: Setting, curve: Curve) -> bool:
    return (curve.model, curve.optimizer) in {cell[:2] for cell in setting.cells} and (
        curve.strategy in setting.strategies
    )


def more_curves(setting: Setting, palette: Palette) -> list[Picture]:
    """Accuracy by optimizer, by network, and the seed report's first figure."""
    pictures = []
    if {"resnet18", "resnet34"} <= set(setting.models) and "sgd" in setting.optimizers:
        only = {"model": ("resnet18", "resnet34"), "optimizer": ("sgd",)}
        pictures.append(
            _curves(
                setting,
                palette,
                "model",
                "ResNet18 against ResNet34 with SGD",
                "resnet18_resnet34_sgd",
                only,
            )
        )
    for by in ("optimizer", "model"):
        if len(names_of(setting, by)) > 1:
            title = f"Accuracy over labels, {_BY[by][0]}"
            pictures.append(
                _curves(setting, palette, by, title, f"accuracy_by_{by}", {})
            )
    return pictures


def _curves(setting, palette, by: str, title: str, name: str, only) -> Picture:
    caption = (
        f"A panel for each {_BY[by][1]}; all have the same axes. "
        if len(facets(setting, by, "test_accuracy", 1.0, only)) > 1
        else ""
    )
    return Picture(
        stem(setting, name),
        title,
        caption + trials(setting, setting.cells),
        _last_values(setting, by, only),
        lambda width: curves(setting, by, palette=palette, width=width, only=only),
    )


def _last_values(setting: Setting, by: str, only) -> str:
    """The last mean of every line, for those who do not see it."""
    shown = facets(setting, by, "test_accuracy", 100.0, only)
    said = []
    for panel in shown[:_MOST_NAMED]:
        values = [f"{called(by, n)} {s.last:.1f} %" for n, s in panel.series.items()]
        said.append(f"{panel.title + ': ' if panel.title else ''}{', '.join(values)}")
    rest = f" {len(shown) - len(said)} more panels." if len(shown) > len(said) else ""
    return f"Line chart. Last means: {'; '.join(said)}.{rest}"


def against_random(setting: Setting, palette: Palette) -> list[Picture | Missing]:
    """Paired differences of every strategy to random, and who beats whom."""
    if BASELINE not in setting.strategies:
        return [Missing("Random was not run, so nothing can be compared with it.")]
    others = [s for s in setting.strategies if s != BASELINE]
    if not others:
        return [Missing("Only random was run: there is nothing to compare it with.")]
    tables = _by_pair(setting, others)
    pictures: list[Picture | Missing] = []
    if tables:
        pictures.append(_differences(setting, palette, tables))
    else:
        text = "No trial of a strategy and of random is finished, so none is compared."
        pictures.append(Missing(text))
    return pictures + [_penalties(setting)]


def _by_pair(
    setting: Setting, others: Sequence[str]
) -> dict[str, dict[str, pd.DataFrame]]:
    """Title of a panel -> strategy -> its differences; all pairs together first."""
    found: dict[str, dict[str, pd.DataFrame]] = {}
    for strategy in others:
        table = budget_differences(setting, "strategy", strategy, BASELINE)
        for pair, part in table.groupby(["model", "optimizer"], sort=False):
            title = "All pairs" if pair[0] == "all" else names.pair_name(*pair)
            found.setdefault(title, {})[strategy] = part
    if len(found) == 2:  # one pair, which is all pairs
        found.pop("All pairs", None)
    if len(found) > _MOST_PANELS + 1:
        found = {"All pairs": found["All pairs"]}
    return found


def _differences(setting, palette, tables) -> Picture:
    looks = {s: palette.look("strategy", s) for part in tables.values() for s in part}
    random = palette.look("strategy", BASELINE)
    first = next(iter(tables))
    last = [
        f"{looks[s].label} {table['mean'].iloc[-1]:+.1f}"
        for s, table in tables[first].items()
    ]
    together = " “All pairs” averages the pairs of a trial first." * (len(tables) > 1)
    return Picture(
        stem(setting, "against_random"),
        "Accuracy against random at the same number of labels",
        "Above the dashed line a strategy beats random. Each trial is paired with "
        "random's trial of the same seed, which began with the same images and "
        f"weights; lines are means of n = {_counts(tables.values())} differences, "
        "bands their 95 % t intervals (none below three trials). Those of single "
        "budgets are not corrected for their number: verdicts rest on one number per "
        f"trial.{together}",
        f"Line chart. {first}, last budget, points over random: {', '.join(last)}.",
        lambda width: differences(tables, looks, against=random, width=width),
    )


def _counts(parts: Iterable[Mapping[str, pd.DataFrame]]) -> str:
    """How many trials the means of some tables have."""
    counts = {int(n) for part in parts for table in part.values() for n in table["n"]}
    low, high = min(counts), max(counts)
    return f"{low} to {high}" if low < high else f"{low}"


def _penalties(setting: Setting) -> Picture | Missing:
    matrix = penalties(setting)
    pairs = matrix.attrs["pairs"]
    if not pairs:
        return Missing(
            "No penalty matrix: it needs three finished trials of every strategy in "
            "one pair."
        )
    labels = [called("strategy", s) for s in matrix.index]
    beaten = matrix.sum(axis=0) / max(len(matrix) - 1, 1)
    values = ", ".join(f"{n} {v:.2f}" for n, v in zip(labels, beaten, strict=True))
    return Picture(
        stem(setting, "penalties"),
        "Who beats whom",
        "The pairwise penalty matrix of Ash et al. (2020): how often the strategy of "
        "the row beat that of the column, as the share of budgets at which a paired t "
        f"test says so, summed over {names.counted(pairs, 'pair')}. The last row is "
        "how often the others beat it, on average: lower is better. It counts wins; it "
        "corrects for nothing.",
        f"Heat map. How often each was beaten on average: {values}.",
        lambda width: penalties_figure(matrix, labels, most=pairs, width=width),
        small=True,
    )


def between(setting: Setting, palette: Palette, by: str) -> list[Picture | Missing]:
    """Paired differences of every optimizer, or network, to the first."""
    levels = names_of(setting, by)
    if len(levels) < 2:
        return []
    first, *others = levels
    table = {}
    for name in others:
        found = budget_differences(setting, by, name, first)
        found = found[(found.iloc[:, :2] == "all").all(axis=1)]
        if len(found):
            table[name] = found
    if not table:
        return [Missing(f"No trial of {called(by, first)} and of another is finished.")]
    looks = {name: palette.look(by, name) for name in table}
    base = palette.look(by, first)
    last = [f"{looks[n].label} {t['mean'].iloc[-1]:+.1f}" for n, t in table.items()]
    return [
        Picture(
            stem(setting, f"difference_by_{by}"),
            f"Accuracy against {base.label}",
            f"Above the line of {base.label} another is better. The runs of one trial "
            "are averaged first, then paired by trial; means of n = "
            f"{_counts([table])} differences, bands 95 % t intervals (none below three "
            "trials).",
            f"Line chart. Last budget, points over {base.label}: {', '.join(last)}.",
            lambda width: differences(
                {"": table},
                looks,
                against=base,
                width=min(width, WIDE * 0.7),
                heading=f"Accuracy minus that of {base.label}, points",
            ),
            small=True,
        )
    ]
