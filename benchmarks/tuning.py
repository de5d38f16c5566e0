"""Prints what a search of optimizers' settings found on held-out images, as Markdown.

    python benchmarks/tuning.py runs/tune tuning.csv

One line per network, optimizer and settings that were tried: the accuracy on the images
that were held out, in percent, over all budgets of a run; of several trials the mean
and the standard deviation. The best of a pair is in bold, among those with the most
trials. The same goes into a CSV file, if one is named. Runs that were evaluated on the
test set are refused.
"""

import csv
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aljax.report import names
from aljax.report.record import FOLDERS, Record
from aljax.report.runs import Study, read

COLUMNS = ("network", "optimizer", "settings", "accuracy", "sd", "trials", "note")
EDGE = "the best lies at an end of what was tried"


def _own(record: Record) -> dict[str, Any]:
    """The settings of the optimizer of a run, by their short names."""
    start = f"optimizers.{record.optimizer}."
    items = record.config.items()
    return {n.removeprefix(start): v for n, v in items if n.startswith(start)}


def _tried(runs: Iterable[Record]) -> dict[str, list]:
    """The settings in which runs of one pair differ, or the rate; values in order."""
    found: dict[str, set] = {}
    for record in runs:
        for name, value in _own(record).items():
            found.setdefault(name, set()).add(value)
    several = [name for name, values in found.items() if len(values) > 1]
    return {name: sorted(found[name]) for name in several or ["learning_rate"]}


def lines(study: Study) -> Iterator[dict[str, Any]]:
    """Yields a line of the table for everything that was tried, with `COLUMNS`.

    Raises:
        ValueError: a run was evaluated on the test set.
    """
    pairs: dict[tuple[str, str], list[Record]] = {}
    for record in study.runs:
        if not record.held_out:
            raise ValueError(
                f"{record.path} was evaluated on the test set, by which no setting may "
                "be chosen; search with --config.validation."
            )
        pairs.setdefault(record.pair, []).append(record)
    for pair in sorted(pairs, key=lambda pair: [*map(names.place, pair, FOLDERS)]):
        yield from _pair(pairs[pair])


def _pair(runs: Sequence[Record]) -> Iterator[dict[str, Any]]:
    """The lines of one network and optimizer, smallest settings first."""
    tried = _tried(runs)
    groups: dict[tuple, list[Record]] = {}
    for record in runs:
        own = _own(record)
        groups.setdefault(tuple(own[name] for name in tried), []).append(record)
    means = {
        values: [100 * record.accuracies.mean() for record in group if record.done]
        for values, group in groups.items()
    }
    most = max(map(len, means.values()))
    whole = [values for values, found in means.items() if most and len(found) == most]
    best = max(whole, key=lambda values: np.mean(means[values]), default=None)
    for values in sorted(groups):
        note = _note(groups[values])
        if values == best:
            edge = any(
                v in (a[0], a[-1]) for v, a in zip(values, tried.values(), strict=True)
            )
            note = "best" if not edge else f"best; {EDGE}"
        yield _line(runs[0], dict(zip(tried, values, strict=True)), means[values], note)


def _note(group: Sequence[Record]) -> str:
    left = [f"trial {r.trial} {r.state} {r.note}".strip() for r in group if not r.done]
    return "; ".join(left)


def _line(
    run: Record, settings: dict[str, Any], found: list[float], note: str
) -> dict[str, Any]:
    shown = ", ".join(f"{n.replace('_', ' ')} {v:g}" for n, v in settings.items())
    return {
        "network": names.model_name(run.model),
        "optimizer": names.optimizer_name(run.optimizer),
        "settings": shown,
        "accuracy": f"{np.mean(found):.2f}" if found else "",
        "sd": f"{np.std(found, ddof=1):.2f}" if len(found) > 1 else "",
        "trials": len(found),
        "note": note,
    }


def table(found: Sequence[dict[str, Any]]) -> str:
    """The lines as a table in Markdown, the best in bold."""
    shown = [COLUMNS, ("---",) * len(COLUMNS)]
    for line in found:
        cells = [str(line[name]) for name in COLUMNS]
        if line["note"].startswith("best"):
            cells = [f"**{cell}**" if cell else "" for cell in cells]
        shown.append(tuple(cells))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in shown)


def chance(study: Study) -> str:
    """How far accuracies lie apart that differ by chance alone, in a sentence."""
    rows = [row for record in study.runs for row in record.rows]
    images = int(rows[0]["confusion"].sum())
    accuracy = max(row["test_accuracy"] for row in rows)
    half = 196 * math.sqrt(accuracy * (1 - accuracy) / images)
    return (
        f"{images:,} images were held out in each trial: they leave ± {half:.1f} "
        f"points (95 %) on one accuracy of {100 * accuracy:.0f} %."
    )


def main(workdir: str, path: str | None = None) -> None:
    """Prints the table of a workdir, and writes it to a CSV file if one is named."""
    study = read([workdir])
    for warning in study.warnings:
        print(warning, file=sys.stderr)
    found = list(lines(study))
    print(f"{table(found)}\n\n{chance(study)}")
    if path:
        with Path(path).open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(found)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:3])
    except ValueError as error:
        sys.exit(f"tuning.py: {error}")
