"""How far a grid is: reads the folders of its runs, needs no images and no devices."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from aljax.config import Config, flatten
from aljax.grid import Run
from aljax.machine.devices import Devices
from aljax.runs import lock
from aljax.runs.folder import Damaged, RunFolder
from aljax.runs.pace import Paces, kind_of
from aljax.runs.plan import Plan
from aljax.runs.results import find_runs

STATES = ("done", "running", "waiting", "failed")


@dataclass(frozen=True)
class Status:
    """How far one run is."""

    run: Run
    state: str  # one of STATES
    rows: list[dict[str, Any]]  # finished cycles
    note: str = ""  # who is at it, or why it failed

    @property
    def images_left(self) -> int:
        """Images it has still to train on, each epoch counted."""
        return self.run.training_images - _trained(self.run.config, self.rows)


def _trained(config: Config, rows: list[dict[str, Any]]) -> int:
    return config.epochs * sum(row["labeled"] - config.validation for row in rows)


def read_status(run: Run, workdir: Path) -> Status:
    """Reads the state of a run off its folder, which need not be there."""
    folder = RunFolder(workdir / run.folder)
    holder = lock.holder(folder.path)  # first: it may finish the run meanwhile
    try:
        folder.about()
        rows = folder.rows()[: run.config.cycles]
        reason = folder.failure()
    except Damaged as error:
        return Status(run, "failed", [], str(error))
    if len(rows) == run.config.cycles:
        return Status(run, "done", rows)
    if holder:
        return Status(run, "running", rows, holder)
    if reason:
        return Status(run, "failed", rows, reason.removeprefix(f"{run.folder}: "))
    return Status(run, "waiting", rows)


def _network(config: dict[str, Any]) -> str:
    """What images train at one pace on: a network, of one width and precision."""
    fields = ("model", "width", "precision")
    return " ".join(str(config.get(field)) for field in fields)


def seconds_per_image(workdir: Path) -> dict[str, float]:
    """Training time of one image by network, from all rows in a workdir; "": of any."""
    seconds, images = Counter(), Counter()
    for folder in find_runs(workdir):
        try:
            about, rows = folder.about(), folder.rows()
        except Damaged:
            continue
        held_out = about["config"].get("validation", 0) if about else 0
        for row in rows if about else []:
            for kind in ("", _network(about["config"])):
                seconds[kind] += row["train_seconds"]
                images[kind] += about["config"]["epochs"] * (row["labeled"] - held_out)
    return {kind: seconds[kind] / images[kind] for kind in images}


def seconds_left(statuses: Iterable[Status], rates: dict[str, float]) -> float | None:
    """Training still to be done by one process, in seconds; None where unknown.

    Args:
        statuses: the runs; failed ones are left out.
        rates: from `seconds_per_image`; a network that is not in it takes the mean.
    """
    ahead = [s for s in statuses if s.state in ("running", "waiting")]
    if ahead and not rates:
        return None
    return sum(
        status.images_left
        * rates.get(_network(flatten(status.run.config)), rates.get(""))
        for status in ahead
    )


def estimate(plan: Plan, devices: Devices) -> str:
    """What the runs that are not done will take, by earlier ones; a sentence."""
    paces = Paces(plan.compile_cache_dir)
    images, seconds, peak, unknown = 0, 0.0, 0, False
    for run in plan.runs:
        ahead = read_status(run, plan.workdir).images_left
        pace = paces(kind_of(run.config, devices)) if ahead else None
        images += ahead
        unknown |= bool(ahead and not pace)
        if pace:
            seconds += ahead * pace.seconds_per_image + pace.compile_seconds
            peak = max(peak, pace.peak_bytes)
    text = f"{images:,} images to train on, each epoch counted"
    if unknown:
        return f"{text}; time and memory unknown: nothing like it has run here yet."
    left = timedelta(seconds=round(seconds))
    return (
        f"{text}: training and compiling take at most about {left}, and memory "
        f"{peak / 2**30:.1f} GiB, as earlier here; queries and evaluation come on top."
    )


def lines(plan: Plan) -> list[str]:
    """What `--status` prints: a line per run, and one that sums them up."""
    statuses = [read_status(run, plan.workdir) for run in plan.runs]
    width = max((len(s.run.folder) for s in statuses), default=0)
    shown = []
    for s in statuses:
        cycles = f"{len(s.rows)}/{s.run.config.cycles} cycles"
        line = f"{s.state:7}  {s.run.folder:{width}}  {cycles}  {s.note}"
        shown.append(line.rstrip())
    counts = Counter(status.state for status in statuses)
    told = ", ".join(f"{counts[state]} {state}" for state in STATES)
    seconds = seconds_left(statuses, seconds_per_image(plan.workdir))
    left = "unknown" if seconds is None else str(timedelta(seconds=round(seconds)))
    running = counts["running"]
    among = f", shared by {running} processes" if running > 1 else ""
    return [
        *shown,
        f"{len(statuses)} runs: {told}; training time left: {left}{among}.",
    ]
