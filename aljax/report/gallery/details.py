"""Pictures of classes, purchases and calibration."""

import numpy as np

from aljax.report import names
from aljax.report.figures import classes as class_figures
from aljax.report.figures.calibration import pooled, reliability
from aljax.report.figures.curves import curves
from aljax.report.figures.lines import Series
from aljax.report.figures.overlap import overlap as overlap_figure
from aljax.report.gallery.picture import (
    Missing,
    Picture,
    main_pair,
    of_pair,
    trials,
)
from aljax.report.purchases import classes_bought, overlap
from aljax.report.record import Record
from aljax.report.settings import Setting
from aljax.report.style import Palette, called

Runs = dict[str, tuple[Record, ...]]


def _runs(setting: Setting, pair: tuple[str, str]) -> Runs:
    """The runs of a pair that have a row, by strategy."""
    found = {s: setting.cell(*pair, s) for s in setting.strategies}
    return {strategy: runs for strategy, runs in found.items() if runs}


def _last_rows(runs: Runs) -> tuple[int, dict[str, list[dict]]]:
    """The most labels that every strategy has reached, and the rows there.

    Of finished runs, where there are any.
    """
    done = {name: tuple(r for r in some if r.done) for name, some in runs.items()}
    runs = {name: some for name, some in done.items() if some} or runs
    labels = min(max(int(r.labelled[-1]) for r in some) for some in runs.values())
    return labels, {
        name: [row for r in some for row in r.rows if row["labeled"] == labels]
        for name, some in runs.items()
    }


def classes(setting: Setting, palette: Palette) -> list[Picture | Missing]:
    """Accuracy of each class over cycles, and the last confusion."""
    pair = main_pair(setting)
    runs = _runs(setting, pair)
    found = [_class_accuracy(setting, pair, runs), _confusion(setting, pair, runs)]
    return [picture for picture in found if picture]


def _class_accuracy(setting, pair, runs: Runs) -> Picture | Missing:
    tables, labels = {}, None
    known = [row for some in runs.values() for run in some for row in run.rows]
    sizes = {len(r["class_accuracy"]) for r in known if r["class_accuracy"] is not None}
    if len(sizes) != 1:
        return Missing("Accuracy per class was not recorded.")
    (count,) = sizes
    labels = np.unique(np.concatenate([r.labelled for s in runs.values() for r in s]))
    for strategy, some in runs.items():
        tables[called("strategy", strategy)] = _over_cycles(some, labels, count)
    class_names = list(map(setting.class_name, range(count)))
    last = next(iter(tables.values()))[-1]
    hardest = int(np.nanargmin(last)) if np.isfinite(last).any() else 0
    return Picture(
        setting.stem("class_accuracy"),
        "Accuracy of each class",
        f"Share of each class's test images that were recognised, mean over trials "
        f"({of_pair(setting, pair)}). A dash is a class without a test image, or a "
        "cycle that was not reached.",
        f"Heat map of classes over labels. With {next(iter(tables))}, the hardest "
        f"class of the last cycle is {class_names[hardest]}.",
        lambda width: class_figures.class_accuracy(
            tables, labels.tolist(), class_names, width=width
        ),
    )


def _over_cycles(runs, labels: np.ndarray, count: int) -> np.ndarray:
    """Mean over runs of each class's accuracy `[B, K]`, NaN where none has it."""
    every = np.full((len(runs), len(labels), count), np.nan)
    for place, run in zip(every, runs, strict=True):
        for row in run.rows:
            if row["class_accuracy"] is not None:
                place[np.searchsorted(labels, row["labeled"])] = row["class_accuracy"]
    return np.ma.masked_invalid(every).mean(0).filled(np.nan)


def _confusion(setting, pair, runs: Runs) -> Picture | Missing:
    counts, (labels, last) = {}, _last_rows(runs)
    for strategy, rows in last.items():
        tables = [row["confusion"] for row in rows]
        if all(table is not None for table in tables):
            counts[called("strategy", strategy)] = np.sum(tables, 0).astype(float)
    if not counts:
        return Missing("Confusions were not recorded.")
    first = next(iter(counts))
    class_names = list(map(setting.class_name, range(len(counts[first]))))
    off = counts[first].copy()
    np.fill_diagonal(off, -1)
    true, taken = np.unravel_index(off.argmax(), off.shape)
    return Picture(
        setting.stem("confusion"),
        "What is taken for what",
        f"Confusion with {labels:,} labels, trials added up "
        f"({of_pair(setting, pair)}). Rows are true classes and add up to 100 %; the "
        "diagonal is what was right.",
        f"Heat map. With {first}, {class_names[true]} is most often taken for "
        f"{class_names[taken]}.",
        lambda width: class_figures.confusion(counts, class_names, width=width),
        folded=True,
    )


def purchases(setting: Setting, palette: Palette) -> list[Picture | Missing]:
    """Which classes were bought, and how far strategies bought the same images."""
    return [_bought(setting, palette), _overlap(setting)]


def _bought(setting, palette) -> Picture | Missing:
    table = classes_bought(setting)
    table = table[table["cycle"] > 1]
    if not len(table):
        return Missing(
            "Which classes were bought was not recorded by these runs: newer runs "
            "record it."
        )
    images = table.groupby(["strategy", "class"], sort=False)["images"].sum().unstack()
    images = images.loc[[s for s in setting.strategies if s in images.index]]
    ratios = images.to_numpy() / images.to_numpy().sum(1, keepdims=True)
    shares = dict(zip(images.index, ratios, strict=True))
    pool = table.drop_duplicates("class").sort_values("class")["pool_share"].to_numpy()
    class_names = list(map(setting.class_name, range(len(pool))))
    looks = {s: palette.look("strategy", s) for s in shares}
    most = {s: class_names[int(share.argmax())] for s, share in shares.items()}
    said = ", ".join(f"{looks[s].label}: {name}" for s, name in most.items())
    return Picture(
        setting.stem("classes_bought"),
        "Which classes were bought",
        "Share of each class among all that was bought after the first cycle, all "
        "pairs and trials together. The upright tick is the class's share of the pool, "
        "where random buys.",
        f"Dot plot. The class that each strategy bought most: {said}.",
        lambda width: class_figures.bought(
            shares, pool, class_names, looks, width=width
        ),
        small=True,
    )


def _overlap(setting: Setting) -> Picture | Missing:
    if len(setting.strategies) < 2:
        return Missing("One strategy alone has nobody to share its purchases with.")
    matrix = overlap(setting)
    if not matrix.attrs["n"]:
        return Missing("No two strategies have finished the same trial.")
    labels = [called("strategy", s) for s in matrix.index]
    values = matrix.to_numpy(float).copy()
    np.fill_diagonal(values, np.nan)
    i, j = np.unravel_index(np.nanargmax(values), values.shape)
    return Picture(
        setting.stem("overlap"),
        "How far strategies bought the same images",
        "Of all images that either of two strategies bought after the first cycle, the "
        "share that both bought (Jaccard index), mean over the trials and pairs that "
        f"both finished (n ≥ {matrix.attrs['n']}).",
        f"Heat map. Most alike: {labels[i]} and {labels[j]}, "
        f"{100 * values[i, j]:.0f} %.",
        lambda width: overlap_figure(matrix, labels, width=width),
        small=True,
    )


def calibration(setting: Setting, palette: Palette) -> list[Picture | Missing]:
    """Calibration error over labels, and the last reliability diagrams."""
    known = [
        run.values("calibration_error")
        for cell in setting.cells
        for run in setting.cell(*cell)
    ]
    if not np.isfinite(np.concatenate(known)).any():
        return [
            Missing("Calibration was not recorded by these runs: newer runs record it.")
        ]
    error = Picture(
        setting.stem("calibration_error"),
        "Calibration error over labels",
        "Expected calibration error in 15 bins of equal width (Guo et al., 2017): how "
        "far confidence and accuracy lie apart. Lower is better; strategies that buy "
        f"by confidence rely on it. {trials(setting, setting.cells)}",
        _last_errors(setting),
        lambda width: curves(
            setting,
            palette=palette,
            width=width,
            field="calibration_error",
            heading="Expected calibration error, points",
        ),
    )
    diagram = _reliability(setting, palette)
    return [error, diagram] if diagram else [error]


def _last_errors(setting: Setting) -> str:
    pair = main_pair(setting)
    said = []
    for strategy, runs in _runs(setting, pair).items():
        last = Series.of(runs, "calibration_error", 100.0).last
        if np.isfinite(last):
            said.append(f"{called('strategy', strategy)} {last:.1f}")
    return (
        f"Line chart. Last means, {names.pair_name(*pair)}: {', '.join(said)} points."
    )


def _reliability(setting, palette) -> Picture | None:
    pair = main_pair(setting)
    bins, (labels, last) = {}, _last_rows(_runs(setting, pair))
    for strategy, rows in last.items():
        found = [row["reliability"] for row in rows]
        found = [part for part in found if part is not None]
        if found:
            bins[strategy] = pooled(found)
    if not bins:
        return None
    looks = {s: palette.look("strategy", s) for s in bins}
    gaps = [f"{looks[s].label} {found.gap:+.1f}" for s, found in bins.items()]
    return Picture(
        setting.stem("reliability"),
        "Confidence against truth",
        f"Reliability with {labels:,} labels, trials added up "
        f"({of_pair(setting, pair)}). Below the dashed diagonal a network is surer "
        "than it is right. Grey bars are the shares of images in each bin, to a scale "
        "of their own.",
        "Reliability diagrams. Mean confidence minus accuracy in points: "
        f"{', '.join(gaps)}.",
        lambda width: reliability(bins, looks, width=width),
        folded=True,
    )
