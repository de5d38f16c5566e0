"""Measures a machine: one JSON and one page, in one command.

    python benchmarks/sheet.py --out=sheet
    python benchmarks/sheet.py --out=sheet --minutes=5 --data=cifar10.zip

Matrix product and copy; training and scoring of three networks in two precisions, by
aljax and by PyTorch at its best; one cycle of the calibration recipe; whether a run
that was interrupted ends with the same bits; scaling over the devices there are. Every
measurement is a process of its own, and sides take turns.

`FOLDER/sheet.json` and `FOLDER/index.html` are written after each measurement. The same
command goes on where it stopped, with what there was no time for, until nothing is
left. `FOLDER/cache` holds compiled programs and runs meanwhile.

numpy, jax, flax, optax and torch are enough, and aljax need not be installed.
"""

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# A bare machine runs the checkout as it stands.
sys.path.insert(0, str(ROOT))

import sheet_machine  # noqa: E402
import sheet_page  # noqa: E402
import sheet_tasks  # noqa: E402
import throughput  # noqa: E402
from process import call  # noqa: E402
from sheet_results import NO_TIME, missing, results  # noqa: E402
from sheet_tasks import FIRST, PARTS, PRECISIONS, Task  # noqa: E402
from throughput import MODELS, positive, some_of  # noqa: E402

# Flags that a sheet must be gone on with as it was begun.
SETTINGS = (
    *("models", "precisions", "width", "batch_size", "score_batch_size", "rounds"),
    *("epochs", "parts"),
)
ABOUT = ("device", "commit", "versions")  # the same in all that aljax measures
SHORTEST = 60.0  # seconds that a run is worth beginning for, if it can go on later
REPEATED = (*ABOUT, "parallel", "processes", "xla_flags", "jax_settings")  # kept once
LONGEST = 4.0  # a measurement is stopped after as many times what it was guessed to


class Sheet:
    """What was measured so far, and its files."""

    def __init__(self, flags: argparse.Namespace):
        self.flags, self.folder = flags, flags.out
        self.cache = flags.out / "cache"
        self.settings = {name: getattr(flags, name) for name in SETTINGS}
        self.settings["data"] = Path(flags.data).name if flags.data else None
        self.found: dict[str, dict] = {}
        self.calls: list[dict[str, Any]] = []
        self.left: dict[str, tuple[str, str, str]] = {}
        self.machine = sheet_machine.machine()
        path = self.folder / "sheet.json"
        if path.exists():
            self._take_up(path)
        self.calls.append({"begun": _now(), "load": round(os.getloadavg()[0], 1)})

    def _take_up(self, path: Path) -> None:
        try:
            kept = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise ValueError(
                f"--out={self.folder}: sheet.json is damaged; delete it to begin anew, "
                "or choose another folder."
            ) from error
        for name, value in self.settings.items():
            if kept["settings"][name] != value:
                raise ValueError(
                    f"--out={self.folder} holds a sheet begun with {name}="
                    f"{kept['settings'][name]}, not {value}; give the flags that it "
                    "was begun with, or choose another folder."
                )
        self.found, self.calls = kept["measured"], kept["calls"]

    def add(self, task: Task, one: dict[str, Any]) -> None:
        """Keeps a measurement; refuses one of another machine or commit: ValueError."""
        first = self.found.get(FIRST, one)
        for name in ABOUT if "commit" in one else ():
            # Scaling has more devices of the same kind.
            ours, theirs = (str(it[name]).split(" x ")[-1] for it in (one, first))
            if ours != theirs:
                raise ValueError(
                    f"--out={self.folder} holds a sheet of {name} {theirs}, but this "
                    f"is {ours}; choose another folder."
                )
        if first is not one:
            same = {n for n in REPEATED if n in one and one[n] == first[n]}
            one = {name: value for name, value in one.items() if name not in same}
        self.found[task.name] = one
        self.left.pop(task.name, None)

    def check_alike(self, task: Task, one: dict[str, Any]) -> None:
        """Refuses a side that cannot be compared with those before it: ValueError."""
        if not task.name.startswith("throughput/"):
            return
        *case, side, number = task.name.split("/")
        names = {s: "/".join((*case, s, number)) for s in sheet_tasks.SIDES}
        before = {s: self.found[n] for s, n in names.items() if n in self.found}
        throughput.check_same(before | {side: one})

    def leave(self, task: Task, reason: str) -> None:
        """Remembers what was not measured, and why."""
        self.left[task.name] = (task.name, task.title, reason)

    def write(self) -> None:
        """Writes the JSON and the page."""
        report = {
            "machine": self.machine,
            **{name: self.found.get(FIRST, {}).get(name) for name in ABOUT},
            "platform": self.found.get(FIRST, {}).get("platform"),
            "torch": _torch_version(self.found),
            "settings": self.settings,
            "calls": self.calls,
            **results(self.flags, self.found),
            "missing": missing([*self.left.values()], self.flags),
            "measured": self.found,
        }
        _replace(self.folder / "sheet.json", json.dumps(report, indent=1) + "\n")
        _replace(self.folder / "index.html", sheet_page.page(report))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _torch_version(found: dict[str, dict]) -> str | None:
    known = (one.get("versions", {}).get("torch") for one in found.values())
    return next(filter(None, known), None)


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)


class Estimates:
    """How long measurements take: as the last one alike, or a guess made better."""

    def __init__(self, sheet: Sheet):
        self._sheet = sheet

    def __call__(self, task: Task) -> float:
        """Seconds that a measurement will take."""
        start, found = task.name.rpartition("/")[0], self._sheet.found
        known = [one for name, one in found.items() if _alike(name, start)]
        if known:
            return known[-1]["wall_seconds"]
        end = task.name.split("/")[-2:]
        near = [one for name, one in found.items() if name.split("/")[-2:] == end]
        ratios = [one["wall_seconds"] / one["guessed_seconds"] for one in near]
        return task.guess * (statistics.median(ratios) if ratios else 1.0)


def _alike(name: str, other: str) -> bool:
    """Whether two measurements differ in nothing but the round."""
    start, _, number = name.rpartition("/")
    return start == other and number.isdecimal()


def carry_out(sheet: Sheet, minutes: float) -> None:
    """Measures what is left, as far as the time goes; writes after each."""
    begun, tried, estimate = time.monotonic(), set(), Estimates(sheet)
    while True:
        every = sheet_tasks.tasks(sheet.flags, sheet.found, sheet.cache)
        waiting = [t for t in every if t.name not in sheet.found]
        for task in waiting:
            if task.name not in sheet.left:
                sheet.leave(task, NO_TIME)
        waiting = [t for t in waiting if t.name not in tried]
        gone = time.monotonic() - begun
        left = 60 * minutes - gone
        fitting = [t for t in waiting if _fits(t, waiting, estimate, left, minutes)]
        if not waiting or not (fitting or not tried):
            break
        task = fitting[0] if fitting else waiting[0]
        tried.add(task.name)
        ahead = min(sum(map(estimate, waiting)), left)
        _say(
            f"[{len(every) - len(waiting) + 1}/{len(every)}, {gone / 60:.1f} min gone, "
            f"about {max(ahead, 0) / 60:.0f} min to go] {task.title}"
        )
        _measure(sheet, task, left, estimate(task))
        sheet.calls[-1]["minutes"] = round((time.monotonic() - begun) / 60, 1)
        sheet.write()


def _fits(
    task: Task, waiting: list[Task], estimate, left: float, minutes: float
) -> bool:
    """Whether there is time for a measurement and those it is compared with."""
    if task.goes_on:
        return left >= SHORTEST
    unit = sum(estimate(t) for t in waiting if t.unit == task.unit)
    return (estimate(task) if unit > 60 * minutes else unit) <= left


def _measure(sheet: Sheet, task: Task, left: float, estimate: float) -> None:
    """Makes one measurement, or remembers why not."""
    if task.fresh:
        shutil.rmtree(task.fresh, ignore_errors=True)
    start = time.monotonic()
    seconds = max(5.0, min(left, LONGEST * max(estimate, 30.0)))
    try:
        one = call(task.line, task.environment, seconds)
        sheet.check_alike(task, one)
    except TimeoutError as error:
        sheet.leave(task, str(error) if seconds < left else NO_TIME)
    except ValueError as error:
        sheet.leave(task, _reason(str(error)))
    else:
        one["wall_seconds"] = round(time.monotonic() - start, 1)
        one["guessed_seconds"], one["at"] = task.guess, _now()
        sheet.add(task, one)
        return
    _say(f"    not measured: {sheet.left[task.name][2]}")


def _reason(said: str) -> str:
    """The last line that names an error, or else the last line."""
    lines = said.strip().splitlines()
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return (named or lines)[-1].strip()[:300]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the sheet")
    parser.add_argument("--minutes", type=positive, default=20, help="for this call")
    parser.add_argument(
        "--data",
        help="CIFAR-10 for the calibration: a zip or folder of train/<class>/*.png|jpg "
        "and test/<class>/*, or a folder of tensorflow-datasets; default: the embedded "
        "images",
    )
    parser.add_argument("--models", type=some_of(MODELS[:3]), default=list(MODELS[:3]))
    parser.add_argument(
        "--precisions", type=some_of(PRECISIONS), default=list(PRECISIONS)
    )
    parser.add_argument("--parts", type=some_of(PARTS), default=list(PARTS))
    counts = {"width": 64, "batch_size": 128, "score_batch_size": 512, "rounds": 5}
    for name, default in counts.items():
        parser.add_argument(f"--{name}", type=positive, default=default)
    parser.add_argument(
        "--epochs", type=positive, help="of the calibration; default: 200"
    )
    flags = parser.parse_args()
    if flags.data and not Path(flags.data).exists():
        parser.error(f"--data: {flags.data!r} is no file or folder; give one or none")
    if flags.out.exists() and not flags.out.is_dir():
        parser.error(f"--out: {str(flags.out)!r} is no folder; choose another one")
    return flags


def main() -> None:
    flags = parse()
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)  # for measuring processes
    # Ends the measurement under way too; what was measured is written.
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit("stopped; the same command goes on")
    )
    flags.out.mkdir(parents=True, exist_ok=True)
    sheet = Sheet(flags)
    carry_out(sheet, flags.minutes)
    sheet.write()
    if not sheet.left:
        shutil.rmtree(sheet.cache, ignore_errors=True)
    else:
        _say(f"{len(sheet.left)} measurements are left; the same command goes on.")
    print(flags.out / "index.html")


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(str(error))
