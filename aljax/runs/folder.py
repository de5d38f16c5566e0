"""The folder of one run: what it leaves on disk, written and read.

WORKDIR/<model>/<optimizer>/<strategy>/trial_<t>/
    config.json  cycles.jsonl  checkpoints/  lock.json  failed.json

Where several processes form a run, all of them call these methods: the first one reads
and writes, the others hear what it found.
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

import numpy as np

from aljax.config import flatten
from aljax.data import Dataset
from aljax.grid import Run, differences
from aljax.machine import processes
from aljax.machine.devices import Devices, choose_devices, processor
from aljax.machine.processes import done_by_first

PACKAGES = ("aljax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
ROW_FIELDS = (
    "trial",
    "cycle",
    "labeled",
    "test_accuracy",
    "test_loss",
    "f1_macro",
    "class_accuracy",
    "confusion",
    "calibration_error",
    "reliability",
    "label_efficiency",
    "loss_ranking_accuracy",
    "train_seconds",
    "evaluate_seconds",
    "query_seconds",
    "compile_seconds",
    "train_images_per_second",
    "score_images_per_second",
    "peak_device_bytes",
    "peak_host_bytes",
    "queried",
    "queried_labels",
    "queried_predictions",
    "queried_scores",
    "leaky",
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


def provenance(devices: Devices | None = None) -> dict[str, Any]:
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
    """The commit of aljax that runs, with "-dirty" if its checkout was changed.

    Never that of a repository around it, such as one that holds the environment into
    which it was installed; None where an installed package does not know its own.
    """
    origin = metadata.distribution("aljax").read_text("direct_url.json")
    installed = json.loads(origin or "{}").get("vcs_info", {}).get("commit_id")
    root = Path(__file__).resolve().parents[2]
    describe = "describe --always --dirty --abbrev=12 --exclude=*"
    try:
        inside = _git(root, "rev-parse", "--show-toplevel")
        return _git(root, *describe.split()) if Path(inside) == root else installed
    except (OSError, subprocess.CalledProcessError):
        return installed


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


def about_images(dataset: Dataset) -> dict[str, Any]:
    """What a report says of the images: classes, shape, images of each class."""

    def counts(labels):
        return np.bincount(labels, minlength=len(dataset.classes)).tolist()

    return {
        "class_names": list(dataset.classes),
        "image_shape": list(dataset.train_images.shape[1:]),
        "pool_class_counts": counts(dataset.train_labels),
        "test_class_counts": counts(dataset.test_labels),
    }


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

    @done_by_first
    def refuse_other(self, run: Run, fingerprint: str) -> None:
        """Refuses to continue a run on other images or with another configuration.

        Raises:
            ValueError: says what differs.
        """
        known = read_json(self.path / "config.json")
        if known is None:
            return
        found = differences(known["config"], flatten(run.config))
        if known["data_fingerprint"] != fingerprint:
            found.append(
                f"images ({known['data_fingerprint'][:12]}… there, others here)"
            )
        if found:
            raise ValueError(
                f"{self.path} holds another run: {'; '.join(found)}. "
                "Choose another --workdir, or set these fields as they are there."
            )

    @done_by_first
    def create(
        self, run: Run, dataset: Dataset, devices: Devices | None = None
    ) -> None:
        """Makes the folder; forgets a failure, mends a row that a crash cut in two.

        Args:
            run: which run.
            dataset: its images.
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
                "data_fingerprint": dataset.fingerprint,
                "dataset": about_images(dataset),
            }
            write_json(self.path / "config.json", content | provenance(devices))
        if self._rows.exists():
            whole = self._rows.read_bytes().rfind(b"\n") + 1
            os.truncate(self._rows, whole)

    @done_by_first
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

    @done_by_first
    def fail(self, reason: str) -> None:
        """Leaves word of why the run cannot go on, until it is taken up again."""
        time = datetime.now().astimezone().isoformat(timespec="seconds")
        write_json(self._failed, {"reason": reason, "time": time})

    @done_by_first
    def failure(self) -> str | None:
        """Why the run failed when it was last taken up; None if it did not."""
        known = read_json(self._failed)
        return known["reason"] if known else None

    @done_by_first
    def rows(self) -> list[dict[str, Any]]:
        """The finished cycles, in order; a line without its end is not one."""
        if not self._rows.exists():
            return []
        lines = self._rows.read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines]

    @done_by_first
    def append(self, row: dict[str, Any]) -> None:
        """Adds a finished cycle, once, whole."""
        assert row.keys() == set(ROW_FIELDS), row.keys() ^ set(ROW_FIELDS)
        row = {name: row[name] for name in ROW_FIELDS}
        self.check()
        with self._rows.open("a") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
