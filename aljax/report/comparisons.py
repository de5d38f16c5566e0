"""Comparisons by trial: optimizers, networks, strategies, settings, by family.

A trial counts once. Where two optimizers met on several networks, or under several
strategies, their differences are averaged inside a trial first: networks of one trial
share images and luck, and are no trials of their own.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from aljax.report import names
from aljax.report.leaks import bar
from aljax.report.matches import (
    BASELINE,
    NAMES,
    Block,
    Match,
    Sides,
    begun,
    blocks_of,
    pair_runs,
    part_of,
)
from aljax.report.record import Record, Unit
from aljax.report.settings import IMAGES, Cell, Setting, own_settings
from aljax.report.statistics import (
    FEWEST,
    LEVEL,
    Estimate,
    Interval,
    Paired,
    estimate,
    holm,
    paired,
    ratio_of_labels,
)

ALPHA = 1 - LEVEL


@dataclass(frozen=True)
class Comparison:
    """The area under the budget curve of `first` minus that of `second`, in points."""

    by: str  # a key of OTHERS
    first: str
    second: str
    match: Match
    result: Paired
    within: dict[str, Paired]  # the same for each network, optimizer or pair alone
    left_out: tuple[tuple[str, str], ...]  # folders of runs without a partner, and why
    bar: str  # why nothing can be established: a leak; "": nothing is in the way
    p_holm: float | None = None

    @property
    def established(self) -> bool:
        """Whether its p value, corrected for the family, is below 0.05."""
        return self.p_holm is not None and self.p_holm < ALPHA and not self.bar

    @property
    def names(self) -> tuple[str, str]:
        return NAMES[self.by](self.first), NAMES[self.by](self.second)

    @cached_property
    def label_ratio(self) -> Interval:
        """How many times as many labels `second` needs for what both reach."""
        return ratio_of_labels(self.match.labelled, *self.match.accuracies / 100)

    def turned(self) -> "Comparison":
        """The same of `second` minus `first`."""
        return replace(
            self,
            first=self.second,
            second=self.first,
            match=replace(self.match, runs=self.match.runs[::-1]),
            result=_turned(self.result),
            within={name: _turned(part) for name, part in self.within.items()},
        )

    def interactions(self) -> tuple[tuple[str, str], ...]:
        """Parts in which the difference has another sign, and that is established.

        Two parts disagree if the interval of each lies on its own side of zero, and the
        difference of their differences, paired by trial, is established by Holm over
        all pairs of parts.
        """
        if self.bar:
            return ()
        gains = self.match.differences(lambda block: part_of(self.by, block))
        pairs = list(itertools.combinations(gains, 2))
        ps = holm([paired(gains[a], gains[b]).p for a, b in pairs])
        found = {name: estimate(gain) for name, gain in gains.items()}
        return tuple(
            (a, b)
            for (a, b), p in zip(pairs, ps, strict=True)
            if p is not None and p < ALPHA and _opposite(found[a], found[b])
        )


def _left_out(
    by: str, runs: Mapping[Block, Sides], used: Match
) -> tuple[tuple[str, str], ...]:
    """Runs of two sides that have no part in their comparison, and why."""
    kept = {id(r) for side in used.runs for block in side for r in block}
    found = []
    for block, sides in runs.items():
        met = set.intersection(*({r.unit for r in side if r.done} for side in sides))
        for record in (record for side in sides for record in side):
            if id(record) not in kept:
                why = _why(record, block in used.blocks, met)
                found.append(
                    (str(record.path if by == "setting" else record.folder), why)
                )
    return tuple(found)


def _why(record: Record, used: bool, met: set[Unit]) -> str:
    """Why a run is in no pair.

    Args:
        record: the run.
        used: whether others of its block are.
        met: the trials of its block that both sides finished.
    """
    if record.state == "failed":
        return f"failed after {names.counted(len(record.rows), 'cycle')}"
    if not record.done:
        return f"is {record.state}"
    if not used:
        if len(met) < FEWEST:
            return "is where too few trials have a partner"
        return "is where too few trials are common with the others"
    return (
        "is of a trial that not all have" if record.unit in met else "lacks a partner"
    )


def compare(
    setting: Setting, by: str, first: str, second: str, blocks: Sequence[Block]
) -> Comparison | None:
    """Compares two levels by the area under the budget curve; None: no common trial."""
    runs = begun(setting, by, first, second, blocks)
    return _compare(by, first, second, runs, bar(setting))


def _compare(
    by: str, first: str, second: str, runs: Mapping[Block, Sides], barred: str
) -> Comparison | None:
    whole = pair_runs(runs)
    if whole is None:
        return None
    parts: dict[str, dict[Block, Sides]] = {}
    for block in whole.blocks:
        parts.setdefault(part_of(by, block), {})[block] = runs[block]
    within = {name: paired(*pair_runs(some).aubc) for name, some in parts.items()}
    out, result = _left_out(by, runs, whole), paired(*whole.aubc)
    return Comparison(by, first, second, whole, result, within, out, barred)


def _opposite(one: Estimate, other: Estimate) -> bool:
    """Whether two intervals lie on two sides of zero."""
    return one.high < 0 < other.low or other.high < 0 < one.low


def _turned(found: Paired) -> Paired:
    return replace(found, mean=-found.mean, low=-found.high, high=-found.low)


def _corrected(found: Iterable[Comparison | None]) -> tuple[Comparison, ...]:
    """Those that could be made, with p values by Holm over all of them."""
    family = [comparison for comparison in found if comparison]
    ps = holm([comparison.result.p for comparison in family])
    return tuple(replace(c, p_holm=p) for c, p in zip(family, ps, strict=True))


def family(
    setting: Setting, by: str, under: tuple[str, ...] = ()
) -> tuple[Comparison, ...]:
    """Every two levels of a setting compared, with Holm's correction over all.

    Args:
        setting: whose runs.
        by: "optimizer" or "model", under the strategies that choose; or "strategy", of
            those that choose: `against_random` is a family of its own.
        under: other strategies instead of those.
    """
    blocks = blocks_of(setting, by, under)
    shown = [level for level in setting.levels(by) if level != BASELINE]
    pairs = itertools.combinations(shown, 2)
    return _corrected(compare(setting, by, *pair, blocks) for pair in pairs)


def against_random(setting: Setting) -> tuple[Comparison, ...]:
    """Every strategy against random, with Holm's correction over all."""
    if BASELINE not in setting.strategies:
        return ()
    blocks = blocks_of(setting, "strategy")
    others = [s for s in setting.strategies if s != BASELINE]
    return _corrected(compare(setting, "strategy", s, BASELINE, blocks) for s in others)


def between_settings(settings: Sequence[Setting]) -> tuple[Comparison, ...]:
    """Every other setting against the first, with Holm's correction over all.

    In the cells that both have, if what the settings differ in changes their runs; none
    where images or budgets differ, or one side was not tested.
    """
    base, *others = (setting for setting in settings if setting.cells)
    found = []
    for other in others:
        if _alike(other, base):
            runs = _cells_of_both(other, base)
            barred = bar(other) or bar(base)
            found.append(_compare("setting", other.name, base.name, runs, barred))
    return _corrected(found)


def equal_cells(settings: Sequence[Setting]) -> list[tuple[str, Cell]]:
    """Cells in which another setting has the runs of the first; with its name."""
    base, *others = (setting for setting in settings if setting.cells)
    return [
        (other.name, cell)
        for other in others
        if _alike(other, base)
        for cell in other.cells
        if _same(other.begun(*cell), base.begun(*cell))
    ]


def _alike(one: Setting, two: Setting) -> bool:
    """Whether accuracies of two settings are of the same images and budgets."""
    budgets = {tuple(r.labelled) for s in (one, two) for r in s.runs if r.done}
    same = all(
        one.fields.get(name) == two.fields.get(name)
        for name in {**one.fields, **two.fields}
        if name in (IMAGES, "validation") or name.startswith("data.")
    )
    return len(budgets) == 1 and same and one.held_out == two.held_out


def _cells_of_both(one: Setting, two: Setting) -> dict[Block, Sides]:
    """Runs of the cells that two settings have, where what they differ in matters."""
    others = [name for name in one.fields if not name.startswith("optimizers.")]
    all_differ = any(one.fields[name] != two.fields[name] for name in others)
    found = {}
    for cell in one.cells:
        sides = [setting.begun(*cell) for setting in (one, two)]
        if not all(sides) or _same(*sides):
            continue
        if all_differ or own_settings(sides[0][0]) != own_settings(sides[1][0]):
            found[cell] = sides
    return found


def _same(one: Sequence[Record], two: Sequence[Record]) -> bool:
    """Whether what differs leaves runs as they are: all common ones are equal."""
    runs = {record.unit: record for record in two if record.done}
    pairs = [(r, runs[r.unit]) for r in one if r.done and r.unit in runs]
    return bool(pairs) and all(
        np.array_equal(a.accuracies, b.accuracies) for a, b in pairs
    )
