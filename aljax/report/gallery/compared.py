"""Pictures of paired differences: strategies, optimizers and networks compared."""

from collections.abc import Iterable, Mapping, Sequence

from aljax.report import names
from aljax.report.budgets import penalties
from aljax.report.figures.differences import differences
from aljax.report.figures.differences import penalties as penalties_figure
from aljax.report.figures.lines import Series
from aljax.report.gallery.picture import Missing, Picture
from aljax.report.matches import BASELINE, Block, Match, blocks_of, match
from aljax.report.sentences import shown_strategies
from aljax.report.settings import Setting
from aljax.report.statistics import FEWEST
from aljax.report.style import Palette, called

_MOST_PANELS = 12  # pairs that get a panel of their own
_TOGETHER = "All pairs"


def against_random(setting: Setting, palette: Palette) -> list[Picture | Missing]:
    """Paired differences of every strategy to random, and who beats whom."""
    if BASELINE not in setting.strategies:
        return [Missing("Random was not run, so nothing can be compared with it.")]
    others = [s for s in setting.strategies if s != BASELINE]
    if not others:
        return [Missing("Only random was run: there is nothing to compare it with.")]
    found = _by_pair(setting, others)
    pictures: list[Picture | Missing] = []
    if found:
        pictures.append(_over_random(setting, palette, found))
    else:
        text = "No trial of a strategy and of random is finished, so none is compared."
        pictures.append(Missing(text))
    return pictures + [_penalties(setting)]


def _difference(
    setting: Setting, by: str, first: str, second: str, blocks: Sequence[Block]
) -> Series | None:
    """Differences by trial at each budget, in points; None: no trial is in both."""
    found = match(setting, by, first, second, blocks)
    return _series(found) if found else None


def _series(pairs: Match) -> Series:
    """The differences of pairs, first − second."""
    first, second = pairs.accuracies
    return Series(pairs.labelled, first - second)


def _by_pair(setting: Setting, others: Sequence[str]) -> dict[str, dict[str, Series]]:
    """Title of a panel -> strategy -> its differences; all pairs together first."""
    blocks = blocks_of(setting, "strategy")
    places = {_TOGETHER: blocks} if len(blocks) != 1 else {}
    if len(blocks) <= _MOST_PANELS:
        places |= {names.pair_name(*block): [block] for block in blocks}
    found: dict[str, dict[str, Series]] = {}
    for title, some in places.items():
        for strategy in others:
            series = _difference(setting, "strategy", strategy, BASELINE, some)
            if series is not None:
                found.setdefault(title, {})[strategy] = series
    return found


def _over_random(setting, palette, found) -> Picture:
    looks = {s: palette.look("strategy", s) for part in found.values() for s in part}
    random = palette.look("strategy", BASELINE)
    first = next(iter(found))
    last = [f"{looks[s].label} {it.last:+.1f}" for s, it in found[first].items()]
    together = f" “{_TOGETHER}” averages the pairs of a trial first." * (len(found) > 1)
    return Picture(
        setting.stem("against_random"),
        "Accuracy against random at the same number of labels",
        "Above the dashed line a strategy beats random. Each trial is paired with "
        "random's trial of the same seed, which began with the same images and "
        f"weights. {_counted(found.values())} Intervals of single budgets are not "
        "corrected for their number: verdicts rest on one number per trial."
        f"{together}",
        f"Line chart. {first}, last budget, points over random: {', '.join(last)}.",
        lambda width: differences(found, looks, against=random, width=width),
    )


def _counted(parts: Iterable[Mapping[str, Series]]) -> str:
    """What lines, bands and thin lines are, and of how many trials."""
    counts = {len(series.values) for part in parts for series in part.values()}
    low, high = min(counts), max(counts)
    if high == 1:
        return "Lines are the differences of one trial (n = 1): no interval."
    span = f"{low} to {high}" if low < high else f"{low}"
    few = "; too few for an interval" if high < FEWEST else ", bands 95 % t intervals"
    return f"Lines are means of n = {span} differences, thin lines the trials{few}."


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
        setting.stem("penalties"),
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


def between(setting: Setting, palette: Palette) -> list[Picture | Missing]:
    """Paired differences of every optimizer, and of every network, to the first."""
    return [
        *_to_first(setting, palette, "optimizer"),
        *_to_first(setting, palette, "model"),
    ]


def _to_first(setting: Setting, palette: Palette, by: str) -> list[Picture | Missing]:
    if len(setting.levels(by)) < 2:
        return []
    first, *others = setting.levels(by)
    blocks = blocks_of(setting, by)
    met = {name: match(setting, by, name, first, blocks) for name in others}
    met = {name: pairs for name, pairs in met.items() if pairs}
    found = {name: _series(pairs) for name, pairs in met.items()}
    under = {block[-1] for pairs in met.values() for block in pairs.blocks}
    strategies = shown_strategies(names.in_order(under, "strategy"))
    if not found:
        return [Missing(f"No trial of {called(by, first)} and of another is finished.")]
    looks = {name: palette.look(by, name) for name in found}
    base = palette.look(by, first)
    last = [f"{looks[n].label} {series.last:+.1f}" for n, series in found.items()]
    return [
        Picture(
            setting.stem(f"difference_by_{by}"),
            f"Accuracy against {base.label}",
            f"Above the line of {base.label} another is better, under {strategies}. "
            "The runs of one trial are averaged first, then paired by trial. "
            f"{_counted([found])}",
            f"Line chart. Last budget, points over {base.label}: {', '.join(last)}.",
            lambda width: differences(
                {"": found},
                looks,
                against=base,
                width=width,
                heading=f"Accuracy minus that of {base.label}, points",
            ),
            small=True,
        )
    ]
