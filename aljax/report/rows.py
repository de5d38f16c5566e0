"""Rows of `cycles.jsonl` as a report reads them: whole ones, up to the first other."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from aljax.runs.folder import ROW_FIELDS

EVALUATED_ON = ("test", "validation")
LISTS = {
    **dict.fromkeys(("queried", "queried_labels", "queried_predictions"), np.int32),
    **dict.fromkeys(("queried_scores", "class_accuracy"), np.float64),
}
BINS = ("images", "confidence", "accuracy")  # the parts of `reliability`
_COUNTS = ("trial", "cycle", "labeled")


def read_rows(
    path: Path, trial: int, torn: bool, warnings: list[str]
) -> tuple[dict[str, Any], ...]:
    """Reads cycles up to the first that is not whole, and says where it stopped.

    Args:
        path: a `cycles.jsonl`, which need not be there.
        trial: whose rows they should be.
        torn: whether a last line without an end is as it should be: a process may be
            writing it.
        warnings: takes what is amiss, a sentence each.

    Returns:
        rows with all of ROW_FIELDS, None where older ones have none. Lists are arrays:
        `confusion` `[K, K]` int64, `class_accuracy` `[K]` float64, `queried…`
        `[images]`, and `reliability` a dict of float64 `[bins]`.
    """
    try:
        text = path.read_text()
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        warnings.append(f"{path} cannot be read ({error}).")
        return ()
    *lines, rest = text.split("\n")
    rows: list[dict[str, Any]] = []
    for line in lines:
        try:
            rows.append(_row(line, trial, rows))
        except ValueError as error:
            warnings.append(
                f"{path}: line {len(rows) + 1} {error}; of this run only what comes "
                f"before counts ({len(rows)} cycles)."
            )
            return tuple(rows)
    if rest and not torn:
        warnings.append(
            f"{path} is cut in line {len(rows) + 1}; of this run only what comes "
            f"before counts ({len(rows)} cycles)."
        )
    return tuple(rows)


def _row(line: str, trial: int, before: list[dict[str, Any]]) -> dict[str, Any]:
    """Reads one cycle; ValueError says why it cannot be believed."""
    try:
        row = json.loads(line, parse_constant=_refuse)
    except ValueError as error:
        raise ValueError("is not JSON") from error
    if not isinstance(row, dict):
        raise ValueError("is not a row")
    for name in _COUNTS:
        if type(row.get(name)) is not int:
            raise ValueError(f"has no whole number as its {name}")
    if row["trial"] != trial or row["cycle"] != len(before) + 1:
        raise ValueError(f"is of trial {row['trial']}, cycle {row['cycle']}")
    if row["labeled"] <= (before[-1]["labeled"] if before else 0):
        raise ValueError(f"has {row['labeled']} labels, no more than the row before")
    accuracy = row.get("test_accuracy")
    if type(accuracy) not in (int, float) or not 0 <= accuracy <= 1:
        raise ValueError(f"has {accuracy!r} as its test_accuracy")
    known = dict.fromkeys(ROW_FIELDS) | {"evaluated_on": "test"}
    row = known | row
    for name in known:
        try:
            row[name] = _value(name, row[name])
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise ValueError(f"has something else as its {name}") from error
    return row


def _refuse(constant: str) -> float:
    raise ValueError(constant)


def _value(name: str, value: Any) -> Any:
    """A field in the form that a report takes; any error where it is another thing."""
    if value is None or name == "leaky":
        return value
    if name == "evaluated_on":
        if value not in EVALUATED_ON:
            raise ValueError(name)
        return value
    if name in LISTS:
        return _array(value, LISTS[name], 1)
    if name == "confusion":
        counts = _array(value, np.int64, 2)
        if counts.shape[0] != counts.shape[1]:
            raise ValueError(name)
        return counts
    if name == "reliability":
        bins = {part: _array(value[part], np.float64, 1) for part in BINS}
        if len({len(part) for part in bins.values()}) > 1:
            raise ValueError(name)
        return bins
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(name)
    return value


def _array(value: Any, dtype: type, dimensions: int) -> np.ndarray:
    array = np.array(value, dtype)
    if not isinstance(value, list) or array.ndim != dimensions:
        raise ValueError("another shape")
    return array
