"""What was bought: of which classes, and how far strategies bought the same images."""

import itertools

import numpy as np
import pandas as pd

from aljax.report.matches import blocks_of, cell_of
from aljax.report.record import FOLDERS, Record
from aljax.report.settings import Setting
from aljax.report.statistics import jaccard


def bought(record: Record) -> np.ndarray:
    """Pool indices of everything that a run bought after its first cycle, int32."""
    lists = [row["queried"] for row in record.rows[1:] if row["queried"] is not None]
    return np.concatenate([np.empty(0, np.int32), *lists])


def overlap(setting: Setting) -> pd.DataFrame:
    """Jaccard index of what two strategies bought after the first cycle.

    The first cycle is left out since all strategies share it. Means over the trials
    and model–optimizer pairs in which both strategies are finished.

    Returns:
        `[strategies, strategies]`, symmetric, 1 on the diagonal, NaN where two never
        met; `.attrs["n"]` is the smallest number of runs in a mean
        (0: there is none).
    """
    strategies = setting.strategies
    table = pd.DataFrame(np.eye(len(strategies)), strategies, strategies)
    counts = []
    sets = {id(r): bought(r) for r in setting.runs if r.done}
    for first, second in itertools.combinations(strategies, 2):
        shares = []
        for block in blocks_of(setting, "strategy"):
            one, two = (
                {r.unit: r for r in setting.done(*cell_of("strategy", s, block))}
                for s in (first, second)
            )
            for unit in one.keys() & two.keys():
                shares.append(jaccard(sets[id(one[unit])], sets[id(two[unit])]))
        known = [share for share in shares if not np.isnan(share)]
        mean = float(np.mean(sorted(known))) if known else np.nan
        table.loc[first, second] = table.loc[second, first] = mean
        counts.append(len(known))
    table.attrs["n"] = min(filter(None, counts), default=0)
    return table


def pool_shares(setting: Setting) -> np.ndarray | None:
    """Share of each class in the pool `[K]`; None where not recorded."""
    counts = (setting.dataset or {}).get("pool_class_counts")
    return np.array(counts) / np.sum(counts) if counts else None


def classes_bought(setting: Setting) -> pd.DataFrame:
    """How many images of each class each cell bought in each cycle.

    Returns:
        columns model, optimizer, strategy, cycle, class (an index), n (runs), images
        (mean over runs), share (of the cycle's purchase) and pool_share (NaN where not
        recorded); no line where the rows do not say what they bought.
    """
    pool, lines = pool_shares(setting), []
    classes = _classes(setting)
    for cell in setting.cells:
        for cycle in range(1, max(len(r.rows) for r in setting.cell(*cell)) + 1):
            rows = [
                r.rows[cycle - 1] for r in setting.cell(*cell) if len(r.rows) >= cycle
            ]
            lists = [
                r["queried_labels"] for r in rows if r["queried_labels"] is not None
            ]
            if not lists:
                continue
            counts = [np.bincount(labels, minlength=classes) for labels in lists]
            images = np.mean(counts, axis=0)
            for index, count in enumerate(images):
                lines.append(
                    {
                        **dict(zip(FOLDERS, cell, strict=True)),
                        **{"cycle": cycle, "class": index, "n": len(lists)},
                        **{"images": count, "share": count / images.sum()},
                        "pool_share": np.nan if pool is None else pool[index],
                    }
                )
    columns = [*FOLDERS, "cycle", "class", "n", "images", "share", "pool_share"]
    return pd.DataFrame(lines, columns=columns)


def _classes(setting: Setting) -> int:
    """K, as the confusions say."""
    sizes = [
        len(row["confusion"])
        for record in setting.runs
        for row in record.rows
        if row["confusion"] is not None
    ]
    labels = [
        row["queried_labels"].max(initial=-1) + 1
        for record in setting.runs
        for row in record.rows
        if row["queried_labels"] is not None
    ]
    return max([*sizes, *labels, 0])
