"""Who meets whom: finished runs of two sides, paired by seed and trial in blocks.

A block is what both sides of a pair share, such as the network and the strategy of two
optimizers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aljax.report import names
from aljax.report.record import FOLDERS, Record, Unit
from aljax.report.settings import Cell, Setting
from aljax.report.statistics import FEWEST

BASELINE = "random"
# What the runs of a comparison share, by what it compares.
OTHERS = {
    "optimizer": ("model", "strategy"),
    "model": ("optimizer", "strategy"),
    "strategy": ("model", "optimizer"),
    "setting": FOLDERS,
}
NAMES = names.NAMES | {"setting": "“{}”".format}
QUORUM = 2 / 3  # of all pairs, that have the strategies under which they are compared
Block = tuple[str, ...]  # values of OTHERS
Sides = Sequence[Sequence[Record]]  # two, of runs in any state


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


def questioned(setting: Setting) -> tuple[str, ...]:
    """The strategies under which optimizers and networks are compared.

    Those that choose; random where there is no other.
    """
    choosing = tuple(s for s in setting.strategies if s != BASELINE)
    return choosing or setting.strategies


def shared(setting: Setting) -> tuple[str, ...]:
    """Those of `questioned` that pairs of network and optimizer have in common.

    The most strategies under which at least `QUORUM` of the pairs finished as many
    trials as a test takes; where there are none, those that the most pairs have.
    """
    asked = questioned(setting)
    trials = {c: len(setting.done(*c)) for c in setting.cells if c[2] in asked}
    enough = max(1, min(FEWEST, max(trials.values(), default=0)))
    of_pair: dict[tuple[str, str], frozenset[str]] = {}
    for cell, number in trials.items():
        if number >= enough:
            of_pair[cell[:2]] = of_pair.get(cell[:2], frozenset()) | {cell[2]}
    closed: set[frozenset[str]] = set()  # under what any of the pairs share
    for kind in of_pair.values():
        closed |= {kind} | {kind & other for other in closed}
    closed.discard(frozenset())

    def pairs(kind: frozenset[str]) -> int:
        return sum(kind <= other for other in of_pair.values())

    def first(kind: frozenset[str]) -> list[int]:  # of equal ones the usual
        return sorted(-asked.index(strategy) for strategy in kind)

    usual = [kind for kind in closed if pairs(kind) >= QUORUM * len(of_pair)]
    if usual:
        best = max(usual, key=lambda kind: (len(kind), pairs(kind), first(kind)))
    else:
        best = max(closed, key=lambda kind: (pairs(kind), first(kind)), default=asked)
    return tuple(strategy for strategy in asked if strategy in best)


def cell_of(by: str, level: str, block: Block) -> Cell:
    """The cell of one level in a block."""
    fields = dict(zip(OTHERS[by], block, strict=True)) | {by: level}
    return tuple(fields[name] for name in FOLDERS)


def blocks_of(
    setting: Setting, by: str, under: tuple[str, ...] = ()
) -> tuple[Block, ...]:
    """What a level may meet another in: of optimizers, each (network, strategy)."""
    asked = setting.strategies if by == "strategy" else under or shared(setting)
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
    return pair_runs(begun(setting, by, first, second, blocks))


def begun(
    setting: Setting, by: str, first: str, second: str, blocks: Iterable[Block]
) -> dict[Block, Sides]:
    """Runs of two levels in each block, whatever their state."""
    return {
        block: [setting.begun(*cell_of(by, level, block)) for level in (first, second)]
        for block in blocks
    }


def pair_runs(runs: Mapping[Block, Sides]) -> Match | None:
    """Pairs what is finished of the runs of two sides, as `match` does."""
    found: dict[Block, dict[Unit, tuple[Record, Record]]] = {}
    for block, sides in runs.items():
        one, two = ({r.unit: r for r in side if r.done} for side in sides)
        if one.keys() & two.keys():
            found[block] = {u: (one[u], two[u]) for u in one.keys() & two.keys()}
    if not found:
        return None
    least = min(FEWEST, max(map(len, found.values())))
    while len(set.intersection(*map(set, found.values()))) < least:
        del found[min(found, key=lambda block: len(found[block]))]
    units = tuple(sorted(set.intersection(*map(set, found.values()))))
    sides = tuple(
        tuple(tuple(found[block][u][side] for u in units) for block in found)
        for side in (0, 1)
    )
    return Match(tuple(found), units, sides)


def part_of(by: str, block: Block) -> str:
    """What a block is shown by: of optimizers the network, of strategies the pair."""
    if by in ("strategy", "setting"):
        return names.pair_name(*block[:2])
    return NAMES[OTHERS[by][0]](block[0])
