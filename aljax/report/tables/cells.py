"""What each cell reached: accuracies, areas, labels needed, costs."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from aljax.report import names, wording
from aljax.report.best import established
from aljax.report.costs import MEMORY, SECONDS, costs, mixed_machines
from aljax.report.leaks import bar
from aljax.report.record import FOLDERS, Record, Unit
from aljax.report.settings import Cell, Setting
from aljax.report.statistics import FEWEST_DRAWN, estimate, labels_interval
from aljax.report.tables.table import Table

ONE_TABLE = 16  # cells up to which strategies share a table
TARGETS = 6  # accuracies whose labels are counted, at most
BEST = (
    "Bold is what is established to be ahead of everything else in its column: paired "
    "t tests by trial, Holm over all others."
)
MEANS = "Means over the finished trials ± standard deviation (n − 1)"
Values = Callable[[Record], float]


@dataclass(frozen=True)
class _Part:
    """Cells that share a table."""

    cells: tuple[Cell, ...]
    suffix: str  # of its file
    title: str  # of what it is


def _parts(setting: Setting) -> Iterator[_Part]:
    """All cells together while they are few, otherwise those of each strategy."""
    if len(setting.cells) <= ONE_TABLE:
        yield _Part(setting.cells, "", "")
        return
    for strategy in setting.strategies:
        cells = tuple(cell for cell in setting.cells if cell[2] == strategy)
        yield _Part(cells, f"_{strategy}", f" under {names.strategy_name(strategy)}")


def _by_trial(setting: Setting, cell: Cell, value: Values) -> dict[Unit, float]:
    """A number of each finished trial of a cell; those without it are left out."""
    found = {record.unit: value(record) for record in setting.done(*cell)}
    return {unit: number for unit, number in found.items() if not math.isnan(number)}


def _line(cell: Cell, setting: Setting) -> dict[str, str]:
    return {
        "network": names.model_name(cell[0]),
        "optimizer": names.optimizer_name(cell[1]),
        "strategy": names.strategy_name(cell[2]),
        "n": str(len(setting.done(*cell))),
    }


def _unequal(setting: Setting, cells: Sequence[Cell]) -> str:
    return wording.unequal(n for cell in cells if (n := len(setting.done(*cell))))


def _at(field: str, cycle: int) -> Values:
    """A field of one cycle; NaN where not recorded."""
    return lambda record: float(record.values(field)[cycle])


@dataclass(frozen=True)
class _Column:
    """A column of numbers over trials."""

    name: str  # as shown
    value: Values
    scale: float = 100.0  # from what is recorded to what is shown
    decimals: int = 1


def _measured(
    setting: Setting, cells: Sequence[Cell], columns: Sequence[_Column], first: int
) -> tuple[list[dict[str, str]], frozenset[tuple[int, int]]]:
    """Lines of mean ± sd, and the places of those established to be the best.

    Args:
        setting: whose cells.
        cells: one a line.
        columns: what is shown.
        first: place of the first of them in the table.
    """
    lines = [_line(cell, setting) for cell in cells]
    best, barred = set(), bar(setting)
    for place, column in enumerate(columns, first):
        values = [_by_trial(setting, cell, column.value) for cell in cells]
        for line, some in zip(lines, values, strict=True):
            found = estimate([column.scale * value for value in some.values()])
            line[column.name] = wording.spread(found, column.decimals)
        winner = None if barred else established(values)
        if winner is not None:
            best.add((winner, place))
    return lines, frozenset(best)


def accuracies(setting: Setting) -> Iterator[Table]:
    """Accuracy at each budget."""
    labels = max((r.labelled for r in setting.runs if r.rows), key=len)
    measured_on = "images held out" if setting.held_out else "the whole test set"
    columns = [
        _Column(f"{count:,}", _at("test_accuracy", cycle))
        for cycle, count in enumerate(labels)
    ]
    for part in _parts(setting):
        shown, best = _measured(setting, part.cells, columns, 4)
        data = []
        for cell in part.cells:
            for cycle, count in enumerate(labels):
                values = _by_trial(setting, cell, _at("test_accuracy", cycle))
                found = estimate([*values.values()])
                data.append(
                    dict(zip(FOLDERS, cell, strict=True))
                    | {"labeled": int(count), "n": found.n, "mean": found.mean}
                    | {"sd": found.sd, "low": found.low, "high": found.high}
                )
        yield Table(
            setting.stem(f"accuracy{part.suffix}"),
            f"Accuracy in percent by labels{part.title}",
            f"{MEANS}, on {measured_on}. {BEST}{_unequal(setting, part.cells)}",
            "pairs",
            pd.DataFrame(data),
            pd.DataFrame(shown),
            setting.name,
            best,
        )


_SUMMARY = (
    _Column("AUBC %", lambda record: record.aubc),
    _Column("last accuracy %", _at("test_accuracy", -1)),
    _Column("macro F1 %", _at("f1_macro", -1)),
    _Column("label efficiency", _at("label_efficiency", -1), 1.0, 2),
)


def summaries(setting: Setting) -> Iterator[Table]:
    """One line per cell: area, last accuracy and F1, label efficiency, cost."""
    cost = costs(setting).set_index(list(FOLDERS))
    for part in _parts(setting):
        shown, best = _measured(setting, part.cells, _SUMMARY, 4)
        data = []
        for cell, line in zip(part.cells, shown, strict=True):
            entry = dict(zip(FOLDERS, cell, strict=True))
            entry["n"] = len(setting.done(*cell))
            for name, column in zip(_SUMMARY_FIELDS, _SUMMARY, strict=True):
                found = estimate([*_by_trial(setting, cell, column.value).values()])
                entry |= {f"{name}_mean": found.mean, f"{name}_sd": found.sd}
            spent = dict.fromkeys((*SECONDS, *MEMORY), math.nan)
            if cell in cost.index:
                spent = cost.loc[cell, list(spent)].to_dict()
            data.append(entry | spent)
            line["training"] = wording.duration(spent["train_seconds"])
            line["queries"] = wording.duration(spent["query_seconds"])
            line["peak memory"] = wording.memory(*(spent[name] for name in MEMORY))
        yield Table(
            setting.stem(f"summary{part.suffix}"),
            f"Everything in a line{part.title}",
            f"{MEANS}. AUBC: area under accuracy over labels, divided by their range. "
            "F1 and last accuracy: of the last cycle. Label efficiency: points gained "
            "since cycle 1 per percent of the pool labelled since. Training and "
            "queries: sums over a run, without compiling. Memory: of the process so "
            f"far. {' '.join(filter(None, (mixed_machines(setting), BEST)))}"
            f"{_unequal(setting, part.cells)}",
            "pairs",
            pd.DataFrame(data),
            pd.DataFrame(shown),
            setting.name,
            best,
        )


_SUMMARY_FIELDS = ("aubc", "test_accuracy", "f1_macro", "label_efficiency")


def targets(setting: Setting) -> list[float]:
    """Round accuracies between where curves begin and end, `TARGETS` at most."""
    means = [
        np.mean([record.accuracies for record in setting.done(*cell)], axis=0)
        for cell in setting.cells
        if setting.done(*cell)
    ]
    if not means:
        return []
    low, high = min(m[0] for m in means), max(m.max() for m in means)
    for step in (1, 2, 5, 10):
        found = [p / 100 for p in range(0, 101, step) if low < p / 100 <= high]
        if len(found) <= TARGETS:
            break
    return found


def labels_needed(setting: Setting) -> Iterator[Table]:
    """Labels needed to reach given accuracies."""
    wanted = targets(setting)
    if not wanted:
        return
    for part in _parts(setting):
        shown, data = [], []
        for cell in part.cells:
            runs, line = setting.done(*cell), _line(cell, setting)
            for target in wanted:
                name = f"{100 * target:.0f} %"
                if not runs:
                    line[name] = wording.MISSING
                    continue
                curves = np.array([record.accuracies for record in runs])
                labelled = runs[0].labelled
                found = labels_interval(labelled, curves, target)
                line[name] = wording.labels(found, *map(int, labelled[[0, -1]]))
                data.append(
                    dict(zip(FOLDERS, cell, strict=True))
                    | {"accuracy": target, "n": len(runs), "labels": found.value}
                    | {"low": found.low, "high": found.high}
                )
            shown.append(line)
        columns = [*FOLDERS, "accuracy", "n", "labels", "low", "high"]
        yield Table(
            setting.stem(f"labels_needed{part.suffix}"),
            f"Labels needed to reach an accuracy{part.title}",
            "Straight lines between budgets on the mean curve, made monotone from "
            "below; 95 % intervals by a bootstrap over whole trials, from "
            f"{FEWEST_DRAWN} trials on. The first budget may be more than was needed; "
            f"the file has it without ≤.{_unequal(setting, part.cells)}",
            "labels",
            pd.DataFrame(data, columns=columns),
            pd.DataFrame(shown),
            setting.name,
        )
