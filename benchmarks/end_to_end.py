"""A whole small experiment from scratch, against PyTorch: train, evaluate, query.

    python benchmarks/end_to_end.py --json=end_to_end.json

Every side is one process, timed from its start to its exit: loading and compiling
count. aljax runs `launch.py` twice, with an empty compile cache (`aljax`) and again
with the cache that left (`aljax_cached`). PyTorch runs `torch_baseline.run_experiment`,
tuned without and with `torch.compile`, whose cache is empty too, and as the authors run
it. All see the embedded images, the same number of labels, epochs, scored and test
images; which images are bought, and so the accuracies, differ by chance. Each round has
a seed of its own.

`ratio_over_tuned` is that of `aljax` over the faster of `torch_tuned` and
`torch_compiled`.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from process import TORCH_ENVIRONMENT, call, printed
from throughput import MODELS, TORCH_DEVICES, positive, some_of

HERE = Path(__file__).parent
IMAGES = HERE.parent / "aljax/data/fashion_mnist_mini/images.npz"
NEEDED = ("aljax", "torch_tuned")
OTHERS = ("aljax_cached", "torch_compiled", "torch_authors")
# Fields of the experiment that both sides know by the same name.
SHARED = (
    "model",
    "width",
    "optimizer",
    "strategy",
    "epochs",
    "batch_size",
    "precision",
    "cycles",
    "initial",
    "budget",
    "pool_subset",
    "seed",
    "milestone",
    "detach_epoch",
)


def cores() -> int:
    """CPU cores that this process may use, as many as XLA takes."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def settings(flags: argparse.Namespace) -> dict:
    """The experiment, by the names that both sides share."""
    return {name: getattr(flags, name) for name in SHARED}


def run_aljax(experiment: dict, folder: Path) -> dict:
    """One `launch.py`, in a new workdir beside the compile cache of `folder`."""
    workdir = Path(tempfile.mkdtemp(dir=folder))
    fields = experiment | {"trials": 1, "sweep": {}}
    schedule = f"Schedule(milestones=({fields.pop('milestone')},))"
    module = f"LossPrediction(detach_epoch={fields.pop('detach_epoch')})"
    recipe = folder / "recipe.py"
    values = ", ".join(f"{name}={value!r}" for name, value in fields.items())
    recipe.write_text(
        "from aljax.config import Config, LossPrediction, Schedule\n\n\n"
        "def get_config():\n"
        f"    return Config({values}, schedule={schedule}, loss_prediction={module})\n"
    )
    launch = [sys.executable, str(HERE.parent / "launch.py"), f"--config={recipe}"]
    launch += [f"--workdir={workdir}", f"--compile_cache_dir={folder / 'programs'}"]
    launch += ["--noreport"]
    start = time.perf_counter()
    printed(launch)
    seconds = time.perf_counter() - start
    (path,) = workdir.glob("*/*/*/trial_1/cycles.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    about = json.loads((path.parent / "config.json").read_text())
    known = about["config"] | {
        "milestone": about["config"]["schedule.milestones"][0],
        "detach_epoch": about["config"]["loss_prediction.detach_epoch"],
    }
    ran = {name: known[name] for name in SHARED}
    # The device reads "<count> x <kind>"; only a CPU's kind is "cpu".
    on_cpu = about["device"].split(" x ", 1)[1].startswith("cpu")
    return {
        "seconds": seconds,
        "accuracy": [row["test_accuracy"] for row in rows],
        "labelled": [row["labeled"] for row in rows],
        "compile_seconds": sum(row["compile_seconds"] for row in rows),
        "peak_bytes": max(r["peak_device_bytes"] or r["peak_host_bytes"] for r in rows),
        "settings": ran | {"platform": "cpu" if on_cpu else "gpu"},
        "about": {n: about[n] for n in ("device", "commit", "versions", "xla_flags")},
    }


def run_torch(side: str, experiment: dict, device: str, folder: Path) -> dict:
    """One PyTorch process: this file, asked to run one side; compiles in `folder`."""
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor")}
    manner = "authors" if side == "torch_authors" else "tuned"
    if manner == "tuned":
        environment |= TORCH_ENVIRONMENT
    compiled = side == "torch_compiled"
    asked = {"side": manner, "compile": compiled, "device": device}
    wanted = json.dumps(experiment | asked)
    start = time.perf_counter()
    found = call([sys.executable, __file__, f"--torch={wanted}"], environment)
    return found | {"seconds": time.perf_counter() - start}


def torch_side(wanted: str) -> None:
    """Runs PyTorch's experiment in this process and prints one line of JSON.

    Loads nothing of aljax, whose imports would count.
    """
    from dataclasses import asdict

    import numpy as np
    import torch
    import torch_baseline as baseline

    torch.set_num_threads(cores())
    experiment = baseline.Settings(**json.loads(wanted))
    pad = ((0, 0), (2, 2), (2, 2), (0, 0))
    with np.load(IMAGES) as arrays:
        result = baseline.run_experiment(
            np.pad(arrays["train_images"][..., None], pad),
            arrays["train_labels"],
            np.pad(arrays["test_images"][..., None], pad),
            arrays["test_labels"],
            experiment,
        )
    known = asdict(experiment)
    platform = "gpu" if experiment.device.startswith("cuda") else "cpu"
    ran = {name: known[name] for name in SHARED}
    result["settings"] = ran | {"platform": platform}
    result["peak_bytes"] = baseline.peak_bytes(experiment.device)
    result["versions"] = {"torch": torch.__version__}
    print(json.dumps(result))


def check_same(results: dict[str, dict]) -> None:
    """Refuses sides that ran different experiments: ValueError."""
    first = next(iter(results.values()))
    for side, result in results.items():
        for name in ("settings", "labelled"):
            if result[name] != first[name]:
                raise ValueError(
                    f"{side} ran with {name} {result[name]}, the first side with "
                    f"{first[name]}: these are not comparable."
                )


def report(flags: argparse.Namespace, rounds: list[dict[str, dict]]) -> dict:
    """What the rounds so far have come to; medians, and every round's ratio."""
    sides = list(rounds[0])
    ours = [side for side in sides if side.startswith("aljax")]

    def medians(name: str, of: list[str] = sides) -> dict:
        return {s: statistics.median(r[s][name] for r in rounds) for s in of}

    def ratios(side: str, over: str) -> list[float]:
        return [r[over]["seconds"] / r[side]["seconds"] for r in rounds]

    last, seconds = rounds[-1], medians("seconds")
    tuned = [side for side in sides if side in ("torch_tuned", "torch_compiled")]
    best = min(tuned, key=seconds.get)
    others = {}
    if "aljax_cached" in sides:
        others["ratio_rounds_cached"] = ratios("aljax_cached", best)
    if "torch_authors" in sides:
        over = ratios("aljax", "torch_authors")
        others["ratio_over_authors"] = statistics.median(over)
    about = last["aljax"]["about"]
    versions = about["versions"] | last["torch_tuned"]["versions"]
    return about | {
        "versions": versions,
        "threads": cores(),
        "rounds": len(rounds),
        "settings": settings(flags),
        "seconds": seconds,
        "compile_seconds": medians("compile_seconds", ours),
        "torch_compile": best == "torch_compiled",
        "ratio_over_tuned": statistics.median(ratios("aljax", best)),
        "ratio_rounds": ratios("aljax", best),
        **others,
        "accuracy": {s: [r[s]["accuracy"][-1] for r in rounds] for s in sides},
        "accuracy_of_cycles": {s: [r[s]["accuracy"] for r in rounds] for s in sides},
        "peak_bytes": medians("peak_bytes"),
    }


def show(found: dict) -> None:
    """Prints the table."""
    print(f"{found['device']} · commit {found['commit']} · {found['rounds']} rounds")
    for side in found["seconds"]:
        accuracy = ", ".join(f"{a:.1%}" for a in found["accuracy"][side])
        print(
            f"{side:14} {found['seconds'][side]:7.1f} s  "
            f"{found['peak_bytes'][side] / 1e6:6.0f} MB  final accuracy {accuracy}"
        )
    rounds = ", ".join(f"{ratio:.2f}" for ratio in found["ratio_rounds"])
    print(f"{found['ratio_over_tuned']:.2f} times as fast as tuned PyTorch ({rounds})")


def parse() -> argparse.Namespace:
    """Reads the command line; only what both sides know is allowed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    names = {
        "model": MODELS,
        "optimizer": ("sgd", "adam", "adamw", "rmsprop"),
        "strategy": ("learning_loss", "entropy"),
        "precision": ("float32", "bfloat16"),
    }
    for name, allowed in names.items():
        parser.add_argument(f"--{name}", choices=allowed, default=allowed[0])
    counts = {
        **{"width": 64, "epochs": 3, "batch_size": 128, "cycles": 3, "initial": 384},
        **{"budget": 384, "pool_subset": 1500, "rounds": 5, "milestone": 160},
        "detach_epoch": 120,
    }
    for name, default in counts.items():
        parser.add_argument(f"--{name}", type=positive, default=default)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--others",
        type=lambda text: some_of(OTHERS)(text) if text else [],
        default=list(OTHERS),
        help=f"sides to run beside {' and '.join(NEEDED)}; may be empty",
    )
    parser.add_argument("--torch_device", help="default: what aljax ran on")
    parser.add_argument("--json", type=Path, default=Path("end_to_end.json"))
    parser.add_argument("--torch", help=argparse.SUPPRESS)
    return parser.parse_args()


def run_round(flags: argparse.Namespace, number: int) -> dict[str, dict]:
    """Every side once, aljax first, and refuses what cannot be compared."""
    results, experiment = {}, settings(flags)
    experiment["seed"] += number - 1
    with tempfile.TemporaryDirectory() as folder:
        for side in ("aljax", *sorted(flags.others), "torch_tuned"):
            print(side, file=sys.stderr)
            if side.startswith("aljax"):
                results[side] = run_aljax(experiment, Path(folder))
                platform = results[side]["settings"]["platform"]
            else:
                device = flags.torch_device or TORCH_DEVICES.get(platform, "cpu")
                results[side] = run_torch(side, experiment, device, Path(folder))
    check_same(results)
    return results


def main() -> None:
    flags = parse()
    if flags.torch:
        return torch_side(flags.torch)
    rounds = []
    for number in range(1, flags.rounds + 1):
        print(f"round {number}/{flags.rounds}", file=sys.stderr)
        rounds.append(run_round(flags, number))
        found = report(flags, rounds)
        flags.json.write_text(json.dumps(found, indent=2) + "\n")
    show(found)


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(str(error))
