"""Runs in memory, for what a report draws and counts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aljax.report.record import Record
from aljax.report.settings import Setting
from aljax.runs.folder import ROW_FIELDS


def record(
    accuracies: Sequence[float],
    *,
    model: str = "resnet18",
    optimizer: str = "sgd",
    strategy: str = "entropy",
    trial: int = 1,
    rows: Sequence[dict[str, Any]] = (),
    **config: Any,
) -> Record:
    """A run with 100, 200 … labels; `rows` adds fields to each of its cycles."""
    extra = [*rows, *[{}] * (len(accuracies) - len(rows))]
    made = [
        dict.fromkeys(ROW_FIELDS)
        | {"trial": trial, "cycle": i, "labeled": 100 * i, "test_accuracy": accuracy}
        | {"leaky": False}
        | more
        for i, (accuracy, more) in enumerate(zip(accuracies, extra, strict=True), 1)
    ]
    fields = {"model": model, "optimizer": optimizer, "strategy": strategy}
    fields |= {"seed": 0, "cycles": len(made), "data.name": "cifar10"} | config
    folder = f"{model}/{optimizer}/{strategy}/trial_{trial}"
    return Record(Path("runs"), folder, fields, {}, trial, tuple(made), "done")


def setting(*runs: Record) -> Setting:
    """The only setting of some runs."""
    return Setting(1, "", {}, runs)
