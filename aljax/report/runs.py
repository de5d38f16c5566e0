"""Runs as a report reads them: whole rows and a state each, whatever the folders hold.

Nothing is written. What cannot be read is left out and said, never guessed.
"""

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aljax.report.record import FOLDERS, Record
from aljax.report.rows import read_rows
from aljax.report.settings import Setting, split
from aljax.runs.lock import holder

_TRIAL = re.compile(r"trial_([1-9][0-9]*)")
_STRAY_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Study:
    """All runs of one or several workdirs, and what reading them found amiss."""

    workdirs: tuple[Path, ...]
    runs: tuple[Record, ...]
    planned: tuple[str, ...]  # folders of runs of a grid that nobody has begun
    experiments: dict[Path, dict[str, Any]]  # config.json of each workdir; {}: none
    warnings: tuple[str, ...]

    @cached_property
    def settings(self) -> tuple[Setting, ...]:
        """Sets of runs that may be compared with each other."""
        return split(self.runs)


def read(workdirs: Sequence[str | Path] | str | Path) -> Study:
    """Reads every run of one or several workdirs.

    Args:
        workdirs: one or several folders of experiments; what is named twice is read
            once.

    Raises:
        ValueError: a workdir is no folder, or no run has a finished cycle.
    """
    if isinstance(workdirs, str | Path):
        workdirs = [workdirs]
    folders = {Path(w).resolve(): Path(w) for w in workdirs}.values()
    warnings: list[str] = []
    runs, planned, experiments = [], [], {}
    for workdir in folders:
        if not workdir.is_dir():
            raise ValueError(
                f"--workdir={workdir} is not a folder; name one that holds runs."
            )
        experiments[workdir] = _read_about(workdir / "config.json", warnings) or {}
        found = [
            _read_run(workdir, path, warnings) for path in _find(workdir, warnings)
        ]
        begun = [record for record in found if record is not None]
        runs += begun
        planned += _planned(workdir, experiments[workdir], begun)
    runs = _once(split(runs), warnings)
    if not any(record.rows for record in runs):
        named = ", ".join(map(str, folders))
        raise ValueError(
            f"--workdir={named} has no run with a finished cycle; wait for one, or "
            "name another folder." + "".join(f" {text}" for text in warnings[:1])
        )
    return Study(
        tuple(folders), tuple(runs), tuple(planned), experiments, tuple(warnings)
    )


def _find(workdir: Path, warnings: list[str]) -> list[Path]:
    """Folders of runs, trials in order; says which look like one and are none."""
    runs = "*/*/*/trial_*"
    paths = {
        p for p in (*workdir.glob(runs), *workdir.glob(f"*=*/{runs}")) if p.is_dir()
    }
    found = [path for path in paths if _TRIAL.fullmatch(path.name)]
    stray = sorted(str(path.relative_to(workdir)) for path in paths - set(found))
    if stray:
        shown = ", ".join(stray[:_STRAY_SHOWN]) + ", …" * (len(stray) > _STRAY_SHOWN)
        warnings.append(
            f"{workdir}: folders that are not named as runs are left out: {shown}."
        )
    return sorted(found, key=lambda path: (path.parent, _trial(path)))


def _trial(path: Path) -> int:
    return int(_TRIAL.fullmatch(path.name)[1])


def _read_run(workdir: Path, path: Path, warnings: list[str]) -> Record | None:
    """Reads one run; None, and a warning, where nobody can say what it is."""
    folder = path.relative_to(workdir).as_posix()
    process = _holder(path)  # first: it may finish the run meanwhile
    about = _read_about(path / "config.json", warnings)
    if about is None:
        reason = _reason(path)
        if reason:  # of what could not even begin
            warnings.append(f"{folder} failed: {reason.removeprefix(f'{folder}: ')}")
        elif (path / "cycles.jsonl").exists() and not (path / "config.json").exists():
            warnings.append(f"{path} has no config.json; the run is left out.")
        return None
    config = about.pop("config")
    wrong = _contradiction(config, folder)
    if wrong:
        warnings.append(f"{path}: {wrong}; the run is left out.")
        return None
    file = path / "cycles.jsonl"
    rows = read_rows(file, _trial(path), bool(process), warnings)
    rows = _as_bought(rows[: config["cycles"]], config, file, warnings)
    state, note = _state(path, rows, config["cycles"], process)
    note = note.removeprefix(f"{folder}: ")
    return Record(workdir, folder, config, about, _trial(path), rows, state, note)


def _as_bought(
    rows: tuple, config: dict[str, Any], path: Path, warnings: list[str]
) -> tuple:
    """Rows up to the first whose labels are not what the configuration buys."""
    initial, budget = config["initial"], config["budget"]
    for cycle, row in enumerate(rows):
        if row["labeled"] != initial + cycle * budget:
            warnings.append(
                f"{path}: line {cycle + 1} has {row['labeled']} labels where its "
                f"config.json buys {initial + cycle * budget}; of this run only what "
                f"comes before counts ({cycle} cycles)."
            )
            return rows[:cycle]
    return rows


def _state(
    path: Path, rows: tuple, cycles: int, process: str | None
) -> tuple[str, str]:
    """The state of a run, and who is at it or why it failed."""
    if len(rows) == cycles:
        return "done", ""
    if process:
        return "running", process
    reason = _reason(path)
    return ("failed", reason) if reason else ("waiting", "")


def _reason(path: Path) -> str:
    """Why a run failed; "": it did not."""
    try:
        return str(json.loads((path / "failed.json").read_text())["reason"])
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError, KeyError, TypeError):
        return "its failed.json cannot be read"


def _holder(path: Path) -> str | None:
    try:
        return holder(path)
    except (OSError, ValueError, KeyError):  # whoever holds it does not say who it is
        return "another process"


def _read_about(path: Path, warnings: list[str]) -> dict[str, Any] | None:
    """Reads a `config.json`; None where there is none, or none that can be used."""
    try:
        about = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        warnings.append(f"{path} cannot be read ({error}), so it is left out.")
        return None
    config = about.get("config") if isinstance(about, dict) else None
    counts = ("seed", "cycles", "initial", "budget")
    types = dict.fromkeys(FOLDERS, str) | dict.fromkeys(counts, int)
    if not isinstance(config, dict) or not all(
        type(config.get(name)) is kind for name, kind in types.items()
    ):
        warnings.append(f"{path} is no configuration of a run, so it is left out.")
        return None
    return about


def _contradiction(config: dict[str, Any], folder: str) -> str | None:
    """What a folder's name and its configuration say differently; None: nothing."""
    *extra, model, optimizer, strategy, _ = folder.split("/")
    named = dict(zip(FOLDERS, (model, optimizer, strategy), strict=True))
    for part in extra[0].split(",") if extra else ():
        name, _, value = part.partition("=")
        named[name] = value
    for name, value in named.items():
        if str(config.get(name)) != value:
            return f"its config.json says {name} {config.get(name)}, not {value}"
    return None


def _planned(
    workdir: Path, experiment: dict[str, Any], begun: list[Record]
) -> list[str]:
    """The runs of a workdir's grids that have no folder yet.

    More trials than it was begun with are wanted where one of them was begun: a run
    that was copied from elsewhere may have been one of more there.
    """
    wanted = experiment.get("config", {}).get("trials")
    wanted = wanted if type(wanted) is int else 0
    more = [record.config.get("trials") for record in begun if record.trial > wanted]
    trials = [wanted, *(number for number in more if type(number) is int)]
    known = {record.folder for record in begun}
    folders = dict.fromkeys(
        f"{cell}/trial_{trial}"
        for grid in experiment.get("grids", [])
        if set(FOLDERS) <= grid.keys()
        for cell in _cells(grid)
        for trial in range(1, max(trials) + 1)
    )
    return [f for f in folders if f not in known and not _reason(workdir / f)]


def _cells(grid: dict[str, list]) -> Iterator[str]:
    """Folders of a grid's members, named as `aljax.grid.members` names them."""
    shared = [name for name in grid if not name.startswith("optimizers.")]
    for chosen in itertools.product(*(grid[name] for name in shared)):
        member = dict(zip(shared, chosen, strict=True))
        own = [n for n in grid if n.startswith(f"optimizers.{member['optimizer']}.")]
        for settings in itertools.product(*(grid[name] for name in own)):
            named = member | dict(zip(own, settings, strict=True))
            extra = [f"{n}={v}" for n, v in named.items() if n not in FOLDERS]
            parts = [",".join(extra)] * bool(extra)
            yield "/".join([*parts, *(named[field] for field in FOLDERS)])


def _once(settings: tuple[Setting, ...], warnings: list[str]) -> list[Record]:
    """Keeps one of several copies of a run, the longest; says which it left out."""
    kept: dict[tuple, Record] = {}
    for setting in settings:
        for record in setting.runs:
            key = setting.number, record.cell, record.unit
            other = kept.setdefault(key, record)
            if other is record:
                continue
            if len(record.rows) > len(other.rows):
                kept[key], record, other = record, other, record
            warnings.append(
                f"{record.path} is the same run as {other.path}, which counts instead."
            )
    return list(kept.values())
