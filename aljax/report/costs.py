"""What runs cost: seconds by what they went into, and memory."""

from collections.abc import Collection

import numpy as np
import pandas as pd

from aljax.report.names import listed
from aljax.report.record import FOLDERS, Record, Unit
from aljax.report.settings import Setting
from aljax.report.statistics import FEWEST, pareto

SECONDS = ("train_seconds", "compile_seconds", "evaluate_seconds", "query_seconds")
MEMORY = ("peak_device_bytes", "peak_host_bytes")


def costs(setting: Setting, units: Collection[Unit] = ()) -> pd.DataFrame:
    """The cost of a whole run of each cell, and its last accuracy.

    Args:
        setting: whose runs.
        units: the trials that count; none: all.

    Returns:
        columns model, optimizer, strategy, n (finished runs), accuracy (mean at the
        last budget), SECONDS (sums over cycles, mean over runs), MEMORY (maximum over
        cycles and runs) and front: whether no other cell is both better and trained in
        fewer seconds; False where seconds are of several machines. NaN: not recorded.
    """
    lines = []
    for cell in setting.cells:
        runs = [r for r in setting.done(*cell) if not units or r.unit in units]
        if not runs:
            continue
        line = dict(zip(FOLDERS, cell, strict=True)) | {"n": len(runs)}
        line["accuracy"] = float(np.mean([r.accuracies[-1] for r in runs]))
        for field in SECONDS:
            line[field] = float(np.mean([r.values(field).sum() for r in runs]))
        for field in MEMORY:
            line[field] = _peak(runs, field)
        lines.append(line)
    columns = [*FOLDERS, "n", "accuracy", *SECONDS, *MEMORY]
    table = pd.DataFrame(lines, columns=columns)
    table["front"] = pareto(table["train_seconds"], table["accuracy"])
    table["front"] &= not mixed_machines(setting)
    return table


def common_units(setting: Setting) -> frozenset[Unit]:
    """The trials that every cell with a finished run has; empty: too few for a test."""
    units = [frozenset(r.unit for r in setting.done(*cell)) for cell in setting.cells]
    finished = list(filter(None, units))
    common = frozenset.intersection(*finished) if finished else frozenset()
    return common if len(common) >= FEWEST else frozenset()


def mixed_machines(setting: Setting) -> str:
    """Says that seconds of a setting are not compared; "": they are of one machine.

    Names the kinds of machine that its finished runs are of.
    """
    kinds = {
        about.get("device") or "not recorded"
        for record in setting.runs
        if record.done
        for about in (record.about, *record.about.get("later", []))
    }
    if len(kinds) < 2:
        return ""
    named = listed(sorted(kinds))
    return f"Seconds are not compared: runs are of different machines ({named})."


def _peak(runs: list[Record], field: str) -> float:
    values = np.concatenate([record.values(field) for record in runs])
    return float(values.max()) if not np.isnan(values).all() else np.nan
