"""The folder of one run: what it leaves on disk, written and read.

WORKDIR/<model>/<optimizer>/<strategy>/trial_<t>/
    config.json  cycles.jsonl  checkpoints/  lock.json  failed.json

Where several processes form a run, all of them call these methods: the first one reads
and writes, the others hear what it found.
"""

import errno
import json
import os
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

from aljax.config import flatten
from aljax.data import Dataset
from aljax.grid import Run, differences
from aljax.machine.devices import Devices
from aljax.machine.processes import done_by_first
from aljax.runs.provenance import about_images, provenance

_REMEDY = "put it back from a copy, or delete its folder to begin again."
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
    "evaluated_on",
    "leaky",
)
# What going on with a run, and telling of it, cannot do without.
NEEDED_FIELDS = ("cycle", "labeled", "test_accuracy", "train_seconds", "queried")


def write_json(path: Path, content: Any) -> None:
    """Writes a whole file or none of it."""
    # Processes of other hosts may have the same number.
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("w") as file:
            file.write(json.dumps(content, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())  # before it takes the place of what is good
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


class Damaged(ValueError):
    """A file of a run, or of an experiment, is not as aljax left it."""


def read_json(path: Path, *fields: str, remedy: str = _REMEDY) -> dict[str, Any] | None:
    """Reads a JSON object; None where there is no such file.

    Raises:
        Damaged: it is a dangling link, no JSON object, or lacks one of `fields`.
    """
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise Damaged(f"{path} is a link to nothing; delete it.") from None
        return None
    except (ValueError, OSError) as error:
        raise Damaged(f"{path} cannot be read ({error}); {remedy}") from error
    if not isinstance(content, dict):
        raise Damaged(f"{path} is damaged: it is no object; {remedy}")
    missing = set(fields) - set(content)
    if missing:
        lacks = ", ".join(sorted(missing))
        raise Damaged(f"{path} is damaged: it has no {lacks}; {remedy}")
    return content


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise Damaged(
            f"{error.filename} is in the way of a folder; move it."
        ) from error


def _identity(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from another one of the same name; None if there is none."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _changed(known: dict[str, Any], now: dict[str, Any]) -> str:
    """How a run was carried out last, and how it is now, where they differ."""
    last, parts = [known, *known.get("later", [])][-1], []
    for name, value in json.loads(json.dumps(now)).items():
        before = last.get(name, value)
        if isinstance(value, dict) and isinstance(before, dict):
            parts += [(n, v, before.get(n, v)) for n, v in value.items()]
        else:
            parts.append((name, value, before))
    return "; ".join(f"{n} {v} instead of {old}" for n, v, old in parts if v != old)


class RunFolder:
    """One run on disk."""

    def __init__(self, path: Path):
        self.path = path
        self._identity: tuple[int, int] | None = None
        self._rows = path / "cycles.jsonl"
        self._failed = path / "failed.json"

    @done_by_first
    def refuse_other(self, run: Run, fingerprint: str | None = None) -> None:
        """Refuses to continue a run on other images or with another configuration.

        Args:
            run: which run.
            fingerprint: of its images; None where they are not needed any more.

        Raises:
            ValueError: says what differs.
        """
        known = self.about()
        if known is None:
            return
        found = differences(known["config"], flatten(run.config))
        if fingerprint not in (None, known["data_fingerprint"]):
            there = known["data_fingerprint"][:12]
            found.append(f"images ({there}… there, others here)")
        if found:
            raise ValueError(
                f"{self.path} holds another run: {'; '.join(found)}. "
                "Choose another --workdir, or set these fields as they are there."
            )

    @done_by_first
    def create(self, run: Run, dataset: Dataset, devices: Devices | None = None) -> str:
        """Makes the folder; forgets a failure.

        A run that goes on with another device, commit or version than before has this
        in its `config.json`, too: `later`, each with the cycle from which on it holds.

        Args:
            run: which run.
            dataset: its images.
            devices: what it runs on; None: all devices.

        Returns:
            What is otherwise than before; "": nothing.
        """
        _make(self.path)
        self._identity = _identity(self.path)
        self.refuse_other(run, dataset.fingerprint)  # again: it may be begun by now
        self._failed.unlink(missing_ok=True)
        known, now = self.about(), provenance(devices)
        if known is None:
            content = {
                "config": flatten(run.config),
                "trial": run.trial,
                "label": run.label,
                "leaky": run.leaky,
                "dropout": run.dropout,
                "data_fingerprint": dataset.fingerprint,
                "dataset": about_images(dataset),
            }
            write_json(self.path / "config.json", content | now)
            return ""
        changed, cycle = _changed(known, now), len(self.rows()) + 1
        if changed and cycle <= run.config.cycles:
            known.setdefault("later", []).append({"from_cycle": cycle} | now)
            write_json(self.path / "config.json", known)
            return changed
        return ""

    def about(self) -> dict[str, Any] | None:
        """What `config.json` says of the run; None where there is none yet.

        Raises:
            Damaged: it is no such file, or is gone.
        """
        known = read_json(self.path / "config.json", "config", "data_fingerprint")
        if known is None and (self._rows.exists() or any(self.checkpoints.glob("*"))):
            what = "has rows or saves, but no config.json"
            raise Damaged(f"{self.path} {what}; {_REMEDY}")
        return known

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
        _make(self.path)
        time = datetime.now().astimezone().isoformat(timespec="seconds")
        write_json(self._failed, {"reason": reason, "time": time})

    @done_by_first
    def failure(self) -> str | None:
        """Why the run failed when it was last taken up; None if it did not."""
        known = read_json(self._failed)
        return known["reason"] if known else None

    @done_by_first
    def rows(self) -> list[dict[str, Any]]:
        """The finished cycles, in order; a line without its end is not one.

        Raises:
            Damaged: a line is not the row of its cycle.
        """
        return [_row(self._rows, i, line) for i, line in enumerate(self._lines(), 1)]

    def _lines(self) -> list[str]:
        """The whole lines of the rows' file, without blank ones at its end."""
        try:
            text = self._rows.read_text()
        except FileNotFoundError:
            if self._rows.is_symlink():
                raise Damaged(
                    f"{self._rows} is a link to nothing; delete it."
                ) from None
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise Damaged(f"{self._rows} cannot be read ({error}).") from error
        return text[: text.rfind("\n") + 1].rstrip().split("\n") if "\n" in text else []

    @done_by_first
    def append(self, row: dict[str, Any]) -> None:
        """Adds a finished cycle, once, whole, after the whole lines that are there.

        What a crash left of a line is written over.
        """
        assert row.keys() == set(ROW_FIELDS), row.keys() ^ set(ROW_FIELDS)
        row = {name: row[name] for name in ROW_FIELDS}
        self.check()
        if self._rows.exists():
            whole = self._rows.read_bytes().rfind(b"\n") + 1
            os.truncate(self._rows, whole)
        with self._rows.open("a") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _row(path: Path, cycle: int, line: str) -> dict[str, Any]:
    """The row of a cycle out of its line; Damaged if it is not."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise Damaged(
            f"{path}: line {cycle} is no JSON ({error}); {_REMEDY}"
        ) from error
    missing = set(NEEDED_FIELDS) - set(row) if isinstance(row, dict) else NEEDED_FIELDS
    if missing:
        lacks = ", ".join(sorted(missing))
        raise Damaged(f"{path}: line {cycle} has no {lacks}; {_REMEDY}")
    if row["cycle"] != cycle:
        raise Damaged(
            f"{path}: line {cycle} is of cycle {row['cycle']}; rows must be whole and "
            f"in order: {_REMEDY}"
        )
    return row
