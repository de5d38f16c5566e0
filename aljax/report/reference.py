"""Published curves, to be laid under one's own: a table with the source of each."""

import csv
import math
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

COLUMNS = (
    *("name", "data", "model", "optimizer", "strategy", "n"),
    *("labels", "accuracy", "sd", "source"),
)


@dataclass(frozen=True, eq=False)
class Curve:
    """Somebody else's accuracy over labels."""

    name: str
    data: str  # a name of a dataset, such as cifar10
    model: str
    optimizer: str
    strategy: str
    n: int | None  # trials
    labelled: np.ndarray  # [budgets] int64, ascending
    accuracy: np.ndarray  # [budgets] fractions, mean over trials
    sd: np.ndarray | None  # [budgets] fractions; None: not published
    source: str


def published() -> tuple[Curve, ...]:
    """Curves of CIFAR-10 from the literature, in the file beside this one."""
    with resources.as_file(resources.files("aljax.report") / "published.csv") as path:
        return read_reference(path)


def read_reference(path: str | Path) -> tuple[Curve, ...]:
    """Reads curves from a CSV file with the columns of `COLUMNS`.

    A line is one point: accuracy and sd in percent; `n` and `sd` may be empty. Lines of
    one name are one curve.

    Raises:
        ValueError: says which line is not as it should be.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [c for c in COLUMNS if c not in (reader.fieldnames or ())]
            lines = [] if missing else list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"--reference={path} cannot be read as a table: {error}."
        ) from error
    if missing:
        raise ValueError(
            f"--reference={path} has no column {', '.join(missing)}; its first line "
            f"must be {','.join(COLUMNS)}."
        )
    curves: dict[str, list[tuple[int, dict[str, str]]]] = {}
    for number, line in enumerate(lines, 2):
        curves.setdefault(line["name"], []).append((number, line))
    return tuple(_curve(path, points) for points in curves.values())


def _curve(path: str | Path, points: list[tuple[int, dict[str, str]]]) -> Curve:
    """One curve of the lines that bear its name."""
    values = []
    for number, line in points:
        labels = _number(path, number, line, "labels", 1, math.inf)
        if values and labels <= values[-1][0]:
            raise ValueError(
                f"--reference={path}, line {number}: labels {labels:g} are no more "
                f"than in the line before of {line['name']!r}; sort them upwards."
            )
        accuracy = _number(path, number, line, "accuracy", 0, 100)
        sd = _number(path, number, line, "sd", 0, 100) if line["sd"] else math.nan
        values.append((labels, accuracy / 100, sd / 100))
    number, first = points[0]
    labelled, accuracy, sd = np.array(values, np.float64).T
    n = int(_number(path, number, first, "n", 1, math.inf)) if first["n"] else None
    about = {name: first[name] for name in COLUMNS[:5]}
    known = None if np.isnan(sd).all() else sd
    return Curve(
        **about,
        n=n,
        labelled=labelled.astype(np.int64),
        accuracy=accuracy,
        sd=known,
        source=first["source"] or "",
    )


def _number(
    path: str | Path,
    number: int,
    line: dict[str, str],
    column: str,
    least: float,
    most: float,
) -> float:
    try:
        value = float(line[column])
    except (TypeError, ValueError):
        value = math.nan
    if not least <= value <= most:
        raise ValueError(
            f"--reference={path}, line {number}: {column} is {line[column]!r}; it must "
            f"be a number from {least:g}"
            + (f" to {most:g}." if math.isfinite(most) else " on.")
        )
    return value
