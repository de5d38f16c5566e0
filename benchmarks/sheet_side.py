"""One run of aljax for a sheet, in a process of its own; prints one line of JSON.

    python benchmarks/sheet_side.py --part=calibration --workdir=run --width=16
    python benchmarks/sheet_side.py --part=bits --manner=undisturbed --workdir=run

`calibration` carries out one cycle of `configs/cifar10_report.py`; a run that was
stopped goes on. `bits` carries out two short cycles and prints digests of all that they
come to: `undisturbed`, in one process; `stopped`, which leaves in the middle of an
epoch with the state saved; and `resumed`, which goes on with that in another process.
"""

import argparse
import hashlib
import itertools
import json
import sys
from pathlib import Path
from typing import Any

MANNERS = ("undisturbed", "stopped", "resumed")
STOP_AFTER = 3  # calls of the training program, of 1, 2 and 4 steps
# Two short cycles: 4 steps an epoch, then 8, so that 7 steps end inside one.
SHORT = {"cycles": 2, "epochs": 4, "initial": 500, "budget": 500, "pool_subset": 1000}


def images_of(data: str | None) -> dict[str, Any]:
    """The configuration's `data`, and the folder of tensorflow-datasets.

    Args:
        data: a zip or folder of `train/<class>/…`, or a folder of tensorflow-datasets;
            None: the embedded images.
    """
    if data is None:
        return {"name": "fashion_mnist_mini", "path": None, "data_dir": None}
    if Path(data).is_file() or (Path(data) / "train").is_dir():
        return {"name": "image_folder", "path": data, "data_dir": None}
    return {"name": "cifar10", "path": None, "data_dir": data}


def plan_of(flags: argparse.Namespace):
    """One trial of the recipe, as long as the part needs it."""
    from aljax.config import Data
    from aljax.recipes import load_config
    from aljax.runs.plan import make_plan

    config, images = load_config("cifar10_report"), images_of(flags.data)
    config.data = Data(name=images["name"], path=images["path"])
    config.trials, config.cycles = 1, 1
    config.width, config.precision = flags.width, flags.precision
    if flags.part == "bits":
        for name, value in SHORT.items():
            setattr(config, name, value)
    if flags.epochs:
        config.epochs = flags.epochs
    cache = flags.compile_cache_dir
    return make_plan(config, flags.workdir, images["data_dir"], compile_cache_dir=cache)


def calibrate(flags: argparse.Namespace, devices, preemption) -> dict[str, Any]:
    """Carries out the cycle, or the rest of it; returns what its row says."""
    from aljax.runs.experiment import run_experiment
    from aljax.runs.folder import RunFolder

    plan = plan_of(flags)
    plan.check(devices.size)
    failures = run_experiment(plan, devices, preemption)
    if failures:
        raise ValueError(failures[0])
    config = plan.config
    (row,) = RunFolder(plan.workdir / plan.runs[0].folder).rows()
    wanted = ("labeled", "test_accuracy", "test_loss", "train_seconds")
    wanted += ("compile_seconds", "evaluate_seconds", "train_images_per_second")
    fields = ("model", "optimizer", "width", "epochs", "batch_size", "precision")
    return {
        **{name: row[name] for name in wanted},
        **{name: getattr(config, name) for name in fields},
        "data": config.data.name,
        "file": Path(flags.data).name if flags.data else None,
    }


def digest(tree: Any) -> str:
    """SHA-256 of the bytes of every array."""
    import jax
    import numpy as np

    found = hashlib.sha256()
    for leaf in jax.tree.leaves(jax.device_get(tree)):
        found.update(np.ascontiguousarray(leaf).tobytes())
    return found.hexdigest()


def facts(row: dict[str, Any]) -> dict[str, Any]:
    """What a row says but for what it cost."""
    costs = ("_seconds", "_per_second", "_bytes")
    return {name: value for name, value in row.items() if not name.endswith(costs)}


def compare_bits(flags: argparse.Namespace, devices, preemption) -> dict[str, Any]:
    """Carries out one manner of the short run; returns digests of what it came to."""
    from aljax.machine.clock import CompileClock
    from aljax.machine.preemption import Preempted
    from aljax.runs.console import Console
    from aljax.runs.experiment import run_trial
    from aljax.runs.folder import RunFolder
    from aljax.runs.session import Session

    plan = plan_of(flags)
    (run,) = plan.runs
    folder = RunFolder(plan.workdir / run.folder)
    begun = folder.checkpoints.is_dir()
    if begun != (flags.manner == "resumed"):
        what = "holds a run" if begun else "holds no stopped run"
        raise ValueError(f"--workdir={flags.workdir} {what}; choose another one.")
    dataset = plan.read_images(run.config.data)
    with Console(plan.training_images) as console:
        session = Session(dataset, devices, CompileClock(), console, preemption)
        try:
            state = run_trial(session, run, folder)
        except Preempted:
            if flags.manner != "stopped":
                raise
            return {"rows": len(folder.rows())}
    rows = json.dumps([facts(row) for row in folder.rows()], sort_keys=True)
    return {
        "weights": digest(state),
        "rows": hashlib.sha256(rows.encode()).hexdigest(),
        **{name: getattr(run.config, name) for name in ("width", "precision")},
    }


def preemption_of(flags: argparse.Namespace):
    """Listens to signals, and asks to stop after some calls if that is the part."""
    from aljax.machine.preemption import Preemption

    class AfterCalls(Preemption):
        """Asks to stop when it has been asked some times itself."""

        _asked = itertools.count(1)
        requested = property(
            lambda self: next(self._asked) >= STOP_AFTER, lambda self, value: None
        )

    stops = flags.part == "bits" and flags.manner == "stopped"
    preemption = AfterCalls() if stops else Preemption()
    preemption.install()
    return preemption


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--part", choices=("calibration", "bits"), required=True)
    parser.add_argument("--manner", choices=MANNERS, default="undisturbed")
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--data", help="see images_of")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--epochs", type=int, help="default: the recipe's")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--compile_cache_dir", default="")
    return parser.parse_args()


def main() -> int:
    from aljax.machine import allocator, devices, numerics
    from aljax.machine.preemption import PREEMPTED, Preempted
    from aljax.runs.checkpoint import quiet
    from aljax.runs.provenance import provenance

    flags = parse()
    quiet()
    numerics.pin()
    preemption = preemption_of(flags)
    allocator.trim_after_compiling()
    devices.use_compile_cache(flags.compile_cache_dir)
    chosen = devices.choose_devices(1)
    part = {"calibration": calibrate, "bits": compare_bits}[flags.part]
    try:
        found = part(flags, chosen, preemption)
    except Preempted:
        return PREEMPTED
    print(json.dumps(provenance(chosen) | found))
    return 0


if __name__ == "__main__":
    from aljax.machine.allocator import prepare

    prepare()
    sys.exit(main())
