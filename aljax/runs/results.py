"""`results.json`: the curves of all runs in a workdir, laid out as the authors do."""

import re
from pathlib import Path

from aljax.machine.processes import done_by_first
from aljax.runs.folder import Damaged, RunFolder, write_json

NAME = "results.json"


def find_runs(workdir: Path) -> list[RunFolder]:
    """Every run in a workdir that has finished a cycle, trials in order."""
    runs = "*/*/*/trial_*/cycles.jsonl"
    found = [
        path
        for path in (*workdir.glob(runs), *workdir.glob(f"*=*/{runs}"))
        if re.fullmatch(r"trial_[1-9]\d*", path.parent.name)  # no copies beside them
    ]

    def order(path: Path):
        return path.parents[1], int(path.parent.name.removeprefix("trial_"))

    return [RunFolder(path.parent) for path in sorted(found, key=order)]


@done_by_first
def write_results(workdir: Path) -> list[Path]:
    """Collects the curves of all runs in a workdir into `results.json`.

    Whoever ran them: the shards of a grid may share a workdir. Fields that are swept
    but name no folder of the usual three put each member of the grid, and a
    `results.json` of its own, into a folder such as `width=16`. Returns what is there.
    """
    known = None
    # Another process may finish a run, and write it, after this one has looked.
    while True:
        tables, finished = _tables(workdir)
        if finished == known:
            return [base / NAME for base in tables]
        for base, table in tables.items():
            write_json(base / NAME, table)
        known = finished


def _tables(workdir: Path) -> tuple[dict[Path, dict], int]:
    """What each `results.json` in a workdir should hold, and how many runs are done."""
    tables: dict[Path, dict] = {}
    finished = 0
    for folder in find_runs(workdir):
        try:
            rows, about = folder.rows(), folder.about()
        except Damaged:
            continue  # whoever runs it, or asks for the status, is told
        if not rows or about is None:
            continue
        base, config = folder.path.parents[3], about["config"]
        finished += len(rows) == config["cycles"]
        table = tables.setdefault(base, {"strategies": {}})["strategies"]
        for name in (config["strategy"], config["optimizer"]):
            table = table.setdefault(name, {})
        entry = table.setdefault(
            config["model"],
            {"label": about["label"], "labeled_sizes": [], "accuracies": []},
        )
        entry["labeled_sizes"].append([row["labeled"] for row in rows])
        entry["accuracies"].append(
            [round(100 * row["test_accuracy"], 6) for row in rows]
        )
    return tables, finished
