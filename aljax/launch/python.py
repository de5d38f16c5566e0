"""The door for Python: an experiment from a notebook or a script."""

import contextlib
import dataclasses
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aljax import recipes, report
from aljax.config import Config, flatten, replace
from aljax.grid import grid_without
from aljax.launch.reporting import report_at_end
from aljax.lookup import lookup
from aljax.machine import allocator, numerics
from aljax.machine.devices import COMPILE_CACHE, choose_devices, use_compile_cache
from aljax.machine.preemption import Preemption
from aljax.report.images import stored_images
from aljax.runs.checkpoint import quiet
from aljax.runs.experiment import run_experiment
from aljax.runs.folder import RunFolder
from aljax.runs.plan import Plan, make_plan

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas


@contextlib.contextmanager
def _speaking_of_fields() -> Iterator[None]:
    """Calls things as they are called in Python: `--config.model` is `config.model`."""
    try:
        yield
    except ValueError as error:
        text = re.sub(r"(?<!\S)--(?=[a-z])", "", str(error))
        raise ValueError(text) from error.__cause__


def load_config(recipe: str | Path = recipes.DEFAULT, **fields: Any) -> Config:
    """Loads a recipe, and sets fields of it, which are then no longer swept.

    Args:
        recipe: the name of one that comes with aljax, such as "cifar10_report", or a
            file with `get_config()`.
        **fields: what to set; nested fields as a dict, such as
            `data={"path": "images.zip"}`, or by dotted names in `**{"data.path": …}`.

    Raises:
        ValueError: names the recipe or the field, and what there is.
    """
    with _speaking_of_fields():
        config = recipes.load_config(str(recipe))
        for name, value in _dotted(fields):
            lookup(flatten(config) | {"sweep": None}, "config", name)
            config = replace(config, name, value)
            if name in config.sweep:  # the recipe's grid gives way to one value
                config.sweep = grid_without(config, name)
    return config


def _dotted(fields: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, dict) and name != "sweep":
            yield from ((f"{name}.{inner}", v) for inner, v in _dotted(value))
        else:
            yield name, value


@dataclass(frozen=True)
class Runs:
    """The runs of an experiment, done or failed, and what they left on disk.

    Attributes:
        plan: which runs, and where they are.
        failures: why runs failed, a sentence each; empty if all are done.
    """

    plan: Plan
    failures: list[str]

    @property
    def workdir(self) -> Path:
        """The folder of the experiment."""
        return self.plan.workdir

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """The finished cycles of each run, by the folder of the run in the workdir."""
        return {
            run.folder: RunFolder(self.workdir / run.folder).rows()
            for run in self.plan.runs
        }

    def frame(self) -> "pandas.DataFrame":
        """One row per cycle of each run in the workdir, with the fields that differ."""
        return report.frame([self.workdir])

    def figures(self) -> "dict[str, matplotlib.figure.Figure]":
        """Every figure of the report of the workdir as it is now, by its name."""
        return report.draw([self.workdir])

    def report(self) -> Path:
        """Writes the report of the workdir as it is now; returns its page."""
        images = stored_images(self.plan.data_dir)
        return report.write_report([self.workdir], images=images)


def run(
    config: Config,
    workdir: str | Path,
    *,
    data_dir: str | None = None,
    devices: int | None = None,
    parallel: str = "shard_map",
    shard: str | None = None,
    only: str | None = None,
    compile_cache_dir: str = COMPILE_CACHE,
    write_report: bool = True,
) -> Runs:
    """Carries out an experiment, or goes on where an earlier call stopped.

    Interrupting it (Ctrl-C, or the kernel's stop button) saves the state first; the
    same call goes on.

    Args:
        config: from `load_config`, or made by hand; `sweep` makes it a grid.
        workdir: folder of the results.
        data_dir: where tensorflow-datasets keeps its data; None: its default.
        devices: how many devices share each batch; None: all.
        parallel: what maps programs over them, "shard_map" or "pmap".
        shard: "K/N" takes the K-th of N parts of the runs.
        only: takes the run of this folder in the workdir alone.
        compile_cache_dir: where compiled programs are kept; "": nowhere.
        write_report: whether to write WORKDIR/report once no run is left to do.

    Raises:
        ValueError: names the field or argument, the value, and what to do.
        Preempted: it was asked to stop; the state is saved.
    """
    with _speaking_of_fields(), _interruptible() as preemption:
        if not isinstance(config, Config):
            raise ValueError(
                f"config: {config!r} is no configuration; give what aljax.load_config "
                "returns."
            )
        quiet()
        numerics.pin()
        which = shard, only, compile_cache_dir
        plan = make_plan(dataclasses.replace(config), workdir, data_dir, *which)
        allocator.trim_after_compiling()
        chosen = choose_devices(devices, parallel)
        use_compile_cache(compile_cache_dir)
        plan.check(chosen.size)
        runs = Runs(plan, run_experiment(plan, chosen, preemption))
        page = report_at_end(plan) if write_report else None
        if page:
            print(page)
        return runs


@contextlib.contextmanager
def _interruptible() -> Iterator[Preemption]:
    """Listens to signals meanwhile, where Python lets this thread do so."""
    preemption = Preemption(ends_process=False)
    if threading.current_thread() is not threading.main_thread():
        yield preemption
        return
    before = preemption.install()
    try:
        yield preemption
    finally:
        preemption.uninstall(before)
