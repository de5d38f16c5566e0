"""The run folder: what an experiment leaves on disk, written and read.

WORKDIR/config.json                                     the experiment and its grids
WORKDIR/results.json                                    curves of every run
WORKDIR/<model>/<optimizer>/<strategy>/trial_<t>/       one run:
    config.json  cycles.jsonl  checkpoints/  lock.json  failed.json
"""

import errno
import json
import os
import platform
import subprocess
import uuid
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from aljax import processes
from aljax.config import Config, flatten
from aljax.grid import Run, differences, grid_values
from aljax.parallel import Devices, choose_devices, processor

PACKAGES = ("aljax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
ROW_FIELDS = (
    *("trial", "cycle", "labeled", "test_accuracy", "test_loss", "f1_macro"),
    *("class_accuracy", "confusion", "label_efficiency", "loss_ranking_accuracy"),
    *("train_seconds", "evaluate_seconds", "query_seconds", "compile_seconds"),
    *("train_images_per_second", "score_images_per_second", "peak_device_bytes"),
    *("peak_host_bytes", "queried", "leaky"),
)


def write_json(path: Path, content: Any) -> None:
    """Writes a whole file or none of it."""
    # Processes of other hosts may have the same number.
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    part.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(part, path)


def read_json(path: Path) -> Any | None:
    """Reads a file, or returns None where there is none."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None


def environment(devices: Devices | None = None) -> dict[str, Any]:
    """Versions, commit and device: what a number needs beside it to be believed."""
    devices = devices or choose_devices()
    device = devices.mesh.devices.flat[0]
    return {
        "versions": {name: metadata.version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
        "commit": commit(),
        "device": f"{devices.size} x {device.device_kind}"
        + (f" ({processor()})" if device.platform == "cpu" else ""),
        "parallel": devices.executor,
        "processes": processes.count(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def commit() -> str | None:
    """The commit of the checkout that runs, with "-dirty" if it was changed."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()


def check_workdir(workdir: Path, config: Config) -> None:
    """Refuses a folder that cannot be written or that holds another experiment.

    Raises:
        ValueError: says which fields differ, or what is in the way.
    """
    ancestor = workdir
    while not ancestor.exists() and ancestor != ancestor.parent:
        ancestor = ancestor.parent
    if not ancestor.is_dir() or not os.access(ancestor, os.W_OK | os.X_OK):
        raise ValueError(
            f"--workdir={workdir}: {ancestor} is not a folder that can be written; "
            "choose another --workdir."
        )
    check_experiment(workdir, config)


def check_experiment(workdir: Path, config: Config) -> None:
    """Refuses a folder that holds another experiment: ValueError names the fields."""
    known = read_json(workdir / "config.json")
    if known is None:
        return
    found = differences(known["config"], flatten(config))
    if found:
        raise ValueError(
            f"--workdir={workdir} holds another experiment: {'; '.join(found)}. "
            "Choose another --workdir, or set these fields as they are there."
        )


def check_run(folder: Path, run: Run, fingerprint: str) -> None:
    """Refuses to continue a run on other images or another configuration."""
    known = read_json(folder / "config.json")
    if known is None:
        return
    found = differences(known["config"], flatten(run.config))
    if known["data_fingerprint"] != fingerprint:
        found.append(f"images ({known['data_fingerprint'][:12]}… there, others here)")
    if found:
        raise ValueError(
            f"{folder} holds another run: {'; '.join(found)}. "
            "Choose another --workdir, or set these fields as they are there."
        )


def write_experiment(
    workdir: Path, config: Config, devices: Devices | None = None
) -> None:
    """Makes the folder and its `config.json`, or adds a grid to its `grids`.

    `config` there is what the folder was begun with; each of `grids` maps fields to
    values, and no grid is a part of another.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    known = read_json(workdir / "config.json")
    if known is None:
        known = {"config": flatten(config)} | environment(devices)
    grids, new = known.get("grids", []), grid_values(config)
    if any(_contains(old, new) for old in grids):
        return
    kept = [old for old in grids if not _contains(new, old)]
    write_json(workdir / "config.json", known | {"grids": [*kept, new]})


def _contains(large: dict[str, list], small: dict[str, list]) -> bool:
    return large.keys() == small.keys() and all(
        all(value in large[name] for value in small[name]) for name in small
    )


def _identity(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from another one of the same name; None if there is none."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


class RunFolder:
    """One run on disk."""

    def __init__(self, path: Path):
        self.path = path
        self._identity: tuple[int, int] | None = None
        self._rows = path / "cycles.jsonl"
        self._failed = path / "failed.json"

    def create(
        self, run: Run, fingerprint: str, devices: Devices | None = None
    ) -> None:
        """Makes the folder; forgets a failure, mends a row that a crash cut in two.

        Args:
            run: which run.
            fingerprint: of its images.
            devices: what it runs on; None: all devices.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._identity = _identity(self.path)
        self._failed.unlink(missing_ok=True)
        if not (self.path / "config.json").exists():
            content = {
                "config": flatten(run.config),
                "trial": run.trial,
                "label": run.label,
                "leaky": run.leaky,
                "data_fingerprint": fingerprint,
            }
            write_json(self.path / "config.json", content | environment(devices))
        if self._rows.exists():
            whole = self._rows.read_bytes().rfind(b"\n") + 1
            os.truncate(self._rows, whole)

    def check(self) -> None:
        """Checks that this still is the folder that `create` found or made.

        Raises:
            OSError: ESTALE, its disk has gone; a thread that saves may have made
                another one in its place.
        """
        if self._identity and _identity(self.path) != self._identity:
            text = "this is no longer the folder of the run"
            raise OSError(errno.ESTALE, text, str(self.path))

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def fail(self, reason: str) -> None:
        """Leaves word of why the run cannot go on, until it is taken up again."""
        time = datetime.now().astimezone().isoformat(timespec="seconds")
        write_json(self._failed, {"reason": reason, "time": time})

    def failure(self) -> str | None:
        """Why the run failed when it was last taken up; None if it did not."""
        known = read_json(self._failed)
        return known["reason"] if known else None

    def rows(self) -> list[dict[str, Any]]:
        """The finished cycles, in order; a line without its end is not one."""
        if not self._rows.exists():
            return []
        lines = self._rows.read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def append(self, row: dict[str, Any]) -> None:
        """Adds a finished cycle, once, whole."""
        assert row.keys() == set(ROW_FIELDS), row.keys() ^ set(ROW_FIELDS)
        row = {name: row[name] for name in ROW_FIELDS}
        self.check()
        with self._rows.open("a") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


def find_runs(workdir: Path) -> list[RunFolder]:
    """Every run in a workdir that has finished a cycle, trials in order."""
    runs = "*/*/*/trial_*/cycles.jsonl"
    found = [*workdir.glob(runs), *workdir.glob(f"*=*/{runs}")]

    def order(path: Path):
        return path.parents[1], int(path.parent.name.removeprefix("trial_"))

    return [RunFolder(path.parent) for path in sorted(found, key=order)]


def write_results(workdir: Path) -> None:
    """Collects the curves of all runs in a workdir into `results.json`.

    Whoever ran them: the shards of a grid may share a workdir. Fields that are swept
    but name no folder of the usual three put each member of the grid, and a
    `results.json` of its own, into a folder such as `width=16`.
    """
    known = None
    # Another process may finish a run, and write it, after this one has looked.
    while True:
        tables, finished = _tables(workdir)
        if finished == known:
            return
        for base, table in tables.items():
            write_json(base / "results.json", table)
        known = finished


def _tables(workdir: Path) -> tuple[dict[Path, dict], int]:
    """What each `results.json` in a workdir should hold, and how many runs are done."""
    tables: dict[Path, dict] = {}
    finished = 0
    for folder in find_runs(workdir):
        rows, about = folder.rows(), read_json(folder.path / "config.json")
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
