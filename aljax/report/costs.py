"""What runs cost: seconds by what they went into, and memory."""

import numpy as np
import pandas as pd

from aljax.report.record import FOLDERS, Record
from aljax.report.settings import Setting
from aljax.report.statistics import pareto

SECONDS = ("train_seconds", "compile_seconds", "evaluate_seconds", "query_seconds")
MEMORY = ("peak_device_bytes", "peak_host_bytes")


def costs(setting: Setting) -> pd.DataFrame:
    """The cost of a whole run of each cell, and its last accuracy.

    Returns:
        columns model, optimizer, strategy, n (finished runs), accuracy (mean at the
        last budget), SECONDS (sums over cycles, mean over runs), MEMORY (maximum over
        cycles and runs), front_seconds and front_memory: whether no other cell is both
        better and cheaper. NaN: not recorded.
    """
    lines = []
    for cell in setting.cells:
        runs = setting.done(*cell)
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
    table["front_seconds"] = pareto(table["train_seconds"], table["accuracy"])
    memory = table["peak_device_bytes"].fillna(table["peak_host_bytes"])
    table["front_memory"] = pareto(memory, table["accuracy"])
    return table


def _peak(runs: tuple[Record, ...], field: str) -> float:
    values = np.concatenate([record.values(field) for record in runs])
    return float(values.max()) if not np.isnan(values).all() else np.nan
