"""Comparisons by trial: optimizers, networks and strategies, each in its family.

A trial counts once. Where two optimizers met on several networks, or under several
strategies, their differences are averaged inside a trial first: networks of one trial
share images and luck, and are no trials of their own.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from aljax.report import names
from aljax.report.leaks import bar
from aljax.report.record import FOLDERS, Record
from aljax.report.settings import Cell, Setting
from aljax.report.statistics import FEWEST, LEVEL, Paired, holm, paired

ALPHA = 1 - LEVEL
BASELINE = "random"
# What the runs of a comparison share, by what it compares.
OTHERS = {
    "optimizer": ("model", "strategy"),
    "model": ("optimizer", "strategy"),
    "strategy": ("model", "optimizer"),
}
NAMES = {
    "optimizer": names.optimizer_name,
    "model": names.model_name,
    "strategy": names.strategy_name,
}
Block = tuple[str, str]  # values of OTHERS
Unit = tuple[int, int]  # seed and trial


@dataclass(frozen=True)
class Match:
    """Finished runs of two levels that share block and trial."""

    blocks: tuple[Block, ...]
    units: tuple[Unit, ...]
    runs: tuple[tuple[tuple[Record, ...], ...], ...]  # [2][blocks][units]

    @property
    def aubc(self) -> np.ndarray:
        """Percent `[2, units]`, blocks averaged."""
        areas = [[[r.aubc for r in block] for block in side] for side in self.runs]
        return 100 * np.mean(areas, axis=1)

    @property
    def accuracies(self) -> np.ndarray:
        """Percent `[2, units, budgets]`, blocks averaged."""
        curves = [[[r.accuracies for r in b] for b in side] for side in self.runs]
        return 100 * np.mean(curves, axis=1)

    @property
    def labelled(self) -> np.ndarray:
        """Labels of each cycle `[budgets]`."""
        return self.runs[0][0][0].labelled

    def differences(self, part: Callable[[Block], str]) -> dict[str, np.ndarray]:
        """Differences of the area in points `[units]`, blocks of one part averaged."""
        areas = [[[r.aubc for r in block] for block in side] for side in self.runs]
        gains = 100 * np.subtract(*map(np.array, areas))
        names_ = np.array([part(block) for block in self.blocks])
        return {str(n): gains[names_ == n].mean(0) for n in dict.fromkeys(names_)}


@dataclass(frozen=True)
class Comparison:
    """The area under the budget curve of `first` minus that of `second`, in points."""

    by: str  # a key of OTHERS
    first: str
    second: str
    match: Match
    result: Paired
    within: dict[str, Paired]  # the same for each network, optimizer or pair alone
    left_out: tuple[str, ...]  # runs without a partner, and why
    bar: str  # why nothing can be established: a leak; "": nothing is in the way
    p_holm: float | None = None

    @property
    def established(self) -> bool:
        """Whether its p value, corrected for the family, is below 0.05."""
        return self.p_holm is not None and self.p_holm < ALPHA and not self.bar

    @property
    def names(self) -> tuple[str, str]:
        return NAMES[self.by](self.first), NAMES[self.by](self.second)

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

        Two parts disagree if the difference of their differences, paired by trial, is
        established by Holm over all pairs of parts.
        """
        gains = self.match.differences(lambda block: part_of(self.by, block))
        pairs = list(itertools.combinations(gains, 2))
        ps = holm([paired(gains[a], gains[b]).p for a, b in pairs])
        return tuple(
            (a, b)
            for (a, b), p in zip(pairs, ps, strict=True)
            if p is not None and p < ALPHA and gains[a].mean() * gains[b].mean() < 0
        )


def levels(setting: Setting, by: str) -> tuple[str, ...]:
    """The optimizers, networks or strategies of a setting, in the usual order."""
    of = {
        "optimizer": setting.optimizers,
        "model": setting.models,
        "strategy": setting.strategies,
    }
    return of[by]


def questioned(setting: Setting) -> tuple[str, ...]:
    """The strategies under which optimizers and networks are compared.

    Those that choose; random where there is no other.
    """
    choosing = tuple(s for s in setting.strategies if s != BASELINE)
    return choosing or setting.strategies


def cell_of(by: str, level: str, block: Block) -> Cell:
    """The cell of one level in a block."""
    fields = dict(zip(OTHERS[by], block, strict=True)) | {by: level}
    return tuple(fields[name] for name in FOLDERS)


def blocks_of(setting: Setting, by: str) -> tuple[Block, ...]:
    """What a level may meet another in: of optimizers, each (network, strategy)."""
    asked = questioned(setting) if by != "strategy" else setting.strategies
    found = {}
    for cell in setting.cells:
        fields = dict(zip(FOLDERS, cell, strict=True))
        if fields["strategy"] in asked:
            found[tuple(fields[name] for name in OTHERS[by])] = None
    return tuple(found)


def match(
    setting: Setting, by: str, first: str, second: str, blocks: Iterable[Block]
) -> Match | None:
    """Pairs finished runs; None where no trial is in both.

    A trial counts if both levels finished it in every block. Blocks that would leave
    fewer trials than a test takes, or none at all, are given up, the shortest first.
    """
    found: dict[Block, dict[Unit, tuple[Record, Record]]] = {}
    for block in blocks:
        one, two = (
            {record.unit: record for record in setting.done(*cell_of(by, level, block))}
            for level in (first, second)
        )
        if one.keys() & two.keys():
            found[block] = {u: (one[u], two[u]) for u in one.keys() & two.keys()}
    if not found:
        return None
    least = min(FEWEST, max(map(len, found.values())))
    while len(set.intersection(*map(set, found.values()))) < least:
        del found[min(found, key=lambda block: len(found[block]))]
    units = tuple(sorted(set.intersection(*map(set, found.values()))))
    runs = tuple(
        tuple(tuple(found[block][u][side] for u in units) for block in found)
        for side in (0, 1)
    )
    return Match(tuple(found), units, runs)


def _left_out(
    setting: Setting,
    by: str,
    sides: Sequence[str],
    blocks: Iterable[Block],
    used: Match,
) -> tuple[str, ...]:
    """Why runs of two levels have no part in their comparison."""
    kept = {id(r) for side in used.runs for block in side for r in block}
    reasons = []
    for block in blocks:
        for level in sides:
            for record in setting.begun(*cell_of(by, level, block)):
                if id(record) in kept:
                    continue
                reasons.append(f"{record.folder} {_why(record, block in used.blocks)}")
    return tuple(reasons)


def _why(record: Record, used: bool) -> str:
    """Why a run is in no pair, where others of its block are, or none is."""
    if record.state == "failed":
        return f"failed after {names.counted(len(record.rows), 'cycle')}"
    if not record.done:
        return f"is {record.state}"
    return "lacks a partner" if used else "is where too few trials have a partner"


def compare(
    setting: Setting, by: str, first: str, second: str, blocks: Sequence[Block]
) -> Comparison | None:
    """Compares two levels by the area under the budget curve; None: no common trial."""
    whole = match(setting, by, first, second, blocks)
    if whole is None:
        return None
    parts: dict[str, list[Block]] = {}
    for block in whole.blocks:
        parts.setdefault(part_of(by, block), []).append(block)
    within = {}
    for name, some in parts.items():
        within[name] = paired(*match(setting, by, first, second, some).aubc)
    out = _left_out(setting, by, (first, second), blocks, whole)
    result = paired(*whole.aubc)
    return Comparison(by, first, second, whole, result, within, out, bar(setting))


def part_of(by: str, block: Block) -> str:
    """What a block is shown by: the network for optimizers, the pair for strategies."""
    if by == "strategy":
        return names.pair_name(*block)
    return NAMES[OTHERS[by][0]](block[0])


def _turned(found: Paired) -> Paired:
    return replace(found, mean=-found.mean, low=-found.high, high=-found.low)


def _corrected(found: Iterable[Comparison | None]) -> tuple[Comparison, ...]:
    """Those that could be made, with p values by Holm over all of them."""
    family = [comparison for comparison in found if comparison]
    ps = holm([comparison.result.p for comparison in family])
    return tuple(replace(c, p_holm=p) for c, p in zip(family, ps, strict=True))


def family(setting: Setting, by: str) -> tuple[Comparison, ...]:
    """Every two levels of a setting compared, with Holm's correction over all.

    Args:
        setting: whose runs.
        by: "optimizer" or "model", under the strategies that choose; or "strategy", of
            those that choose: `against_random` is a family of its own.
    """
    blocks = blocks_of(setting, by)
    shown = [level for level in levels(setting, by) if level != BASELINE]
    pairs = itertools.combinations(shown, 2)
    return _corrected(compare(setting, by, *pair, blocks) for pair in pairs)


def against_random(setting: Setting) -> tuple[Comparison, ...]:
    """Every strategy against random, with Holm's correction over all."""
    if BASELINE not in setting.strategies:
        return ()
    blocks = blocks_of(setting, "strategy")
    others = [s for s in setting.strategies if s != BASELINE]
    return _corrected(compare(setting, "strategy", s, BASELINE, blocks) for s in others)
