"""Comparisons at each budget: pictures show them, and no sentence rests on them."""

import numpy as np
import pandas as pd

from aljax.report.matches import OTHERS, blocks_of, cell_of, match
from aljax.report.settings import Setting
from aljax.report.statistics import FEWEST, paired, penalty_matrix

_SHOWN = ("n", "mean", "sd", "low", "high", "p")


def budget_differences(
    setting: Setting, by: str, first: str, second: str
) -> pd.DataFrame:
    """Differences of accuracy at each budget, paired by trial, in points.

    Returns:
        columns: the two of OTHERS[by] ("all": blocks averaged inside a trial first),
        `labeled n mean sd low high p`; one line per block and budget.
    """
    blocks, lines = blocks_of(setting, by), []
    for some in [blocks, *([block] for block in blocks)]:
        found = match(setting, by, first, second, some)
        if found is None:
            continue
        block = ("all", "all") if some is blocks else some[0]
        one, two = found.accuracies
        for labels, a, b in zip(found.labelled, one.T, two.T, strict=True):
            at = paired(a, b)
            line = dict(zip(OTHERS[by], block, strict=True)) | {"labeled": int(labels)}
            line |= {name: getattr(at, name) for name in _SHOWN}
            lines.append(line)
    columns = [*OTHERS[by], "labeled", *_SHOWN]
    return pd.DataFrame(lines, columns=columns)


def penalties(setting: Setting) -> pd.DataFrame:
    """The pairwise penalty matrix of strategies (Ash et al., ICLR 2020).

    Summed over the model–optimizer pairs in which all strategies have three trials.

    Returns:
        `[strategies, strategies]`, the winner in the row; `.attrs["pairs"]` is how many
        pairs were summed: the largest value that a cell can have.
    """
    strategies = setting.strategies
    total, pairs = np.zeros((len(strategies), len(strategies))), 0
    for block in blocks_of(setting, "strategy"):
        runs = {
            s: {r.unit: r for r in setting.done(*cell_of("strategy", s, block))}
            for s in strategies
        }
        units = sorted(set.intersection(*map(set, runs.values())))
        if len(units) >= FEWEST:
            curves = {s: np.array([runs[s][u].accuracies for u in units]) for s in runs}
            total += penalty_matrix(curves)
            pairs += 1
    table = pd.DataFrame(total, index=strategies, columns=strategies)
    table.attrs["pairs"] = pairs
    return table
