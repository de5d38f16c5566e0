"""A whole small experiment from scratch, against PyTorch: train, evaluate, query.

    python benchmarks/end_to_end.py --json=end_to_end.json

Every side is one process, timed from its start to its exit: loading and compiling
count. aljax runs `launch.py` twice, with an empty compile cache (`aljax`) and again
with the cache that left (`aljax_cached`). PyTorch runs `torch_baseline.run_experiment`,
tuned and as the authors run it. All see the embedded images, the same number of labels,
epochs, scored and test images; which images are bought, and so the accuracies, differ
by chance.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
SIDES = ("aljax", "aljax_cached", "torch_tuned", "torch_authors")
# Fields of the experiment that both sides know by the same name.
SHARED = (
    *("model", "width", "optimizer", "strategy", "epochs", "batch_size"),
    *("precision", "cycles", "initial", "budget", "pool_subset", "seed"),
)


def settings(flags: argparse.Namespace) -> dict:
    """The experiment, by the names that both sides share."""
    return {name: getattr(flags, name) for name in SHARED}


def run_aljax(experiment: dict, folder: Path) -> dict:
    """One `launch.py`, in a new workdir beside the compile cache of `folder`."""
    workdir = Path(tempfile.mkdtemp(dir=folder))
    fields = experiment | {"trials": 1, "sweep": {}}
    recipe = folder / "recipe.py"
    values = ", ".join(f"{name}={value!r}" for name, value in fields.items())
    recipe.write_text(
        "from aljax.config import Config\n\n\n"
        f"def get_config():\n    return Config({values})\n"
    )
    launch = [sys.executable, str(HERE.parent / "launch.py"), f"--config={recipe}"]
    launch += [f"--workdir={workdir}", f"--compile_cache_dir={folder / 'programs'}"]
    start = time.perf_counter()
    done = subprocess.run(launch, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise ValueError(f"{' '.join(launch)} failed:\n{done.stderr[-2000:]}")
    (path,) = workdir.glob("*/*/*/trial_1/cycles.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    about = json.loads((path.parent / "config.json").read_text())
    ran = {name: about["config"][name] for name in SHARED}
    return {
        "seconds": seconds,
        "accuracy": [row["test_accuracy"] for row in rows],
        "labelled": [row["labeled"] for row in rows],
        "peak_bytes": max(
            row["peak_device_bytes"] or row["peak_host_bytes"] for row in rows
        ),
        "settings": ran,
        "about": {n: about[n] for n in ("device", "commit", "versions", "xla_flags")},
    }


def run_torch(side: str, experiment: dict, device: str) -> dict:
    """One PyTorch process: this file, asked to run one side."""
    environment = dict(os.environ)
    if side == "torch_tuned":
        environment["THP_MEM_ALLOC_ENABLE"] = "1"
    manner = side.removeprefix("torch_")
    wanted = json.dumps(experiment | {"side": manner, "device": device})
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, f"--torch={wanted}"],
        env=environment,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise ValueError(f"{side} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1]) | {"seconds": seconds}


def torch_side(wanted: str) -> None:
    """Runs PyTorch's experiment in this process and prints one line of JSON."""
    from dataclasses import asdict

    import numpy as np
    import torch
    import torch_baseline as baseline

    from aljax.data.embedded import load

    torch.set_num_threads(os.cpu_count())
    experiment = baseline.Settings(**json.loads(wanted))
    images = load()
    pad = ((0, 0), (2, 2), (2, 2), (0, 0))
    result = baseline.run_experiment(
        np.pad(images.train_images, pad),
        images.train_labels,
        np.pad(images.test_images, pad),
        images.test_labels,
        experiment,
    )
    known = asdict(experiment)
    result["settings"] = {name: known[name] for name in SHARED}
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

    def medians(name: str) -> dict:
        return {s: statistics.median(r[s][name] for r in rounds) for s in SIDES}

    def ratios(side: str, over: str) -> list[float]:
        return [r[over]["seconds"] / r[side]["seconds"] for r in rounds]

    last = rounds[-1]
    about = last["aljax"]["about"]
    versions = about["versions"] | last["torch_tuned"]["versions"]
    return about | {
        "versions": versions,
        "rounds": len(rounds),
        "settings": settings(flags),
        "seconds": medians("seconds"),
        "ratio_over_tuned": statistics.median(ratios("aljax", "torch_tuned")),
        "ratio_over_authors": statistics.median(ratios("aljax", "torch_authors")),
        "ratio_rounds": ratios("aljax", "torch_tuned"),
        "ratio_rounds_cached": ratios("aljax_cached", "torch_tuned"),
        "accuracy": {s: [r[s]["accuracy"][-1] for r in rounds] for s in SIDES},
        "peak_bytes": medians("peak_bytes"),
    }


def show(found: dict) -> None:
    """Prints the table."""
    print(f"{found['device']} · commit {found['commit']} · {found['rounds']} rounds")
    for side in SIDES:
        accuracy = ", ".join(f"{a:.1%}" for a in found["accuracy"][side])
        print(
            f"{side:14} {found['seconds'][side]:7.1f} s  "
            f"{found['peak_bytes'][side] / 1e6:6.0f} MB  final accuracy {accuracy}"
        )
    rounds = ", ".join(f"{ratio:.2f}" for ratio in found["ratio_rounds"])
    print(f"{found['ratio_over_tuned']:.2f} times as fast as tuned PyTorch ({rounds})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    defaults = {
        **{"model": "resnet18", "width": 32, "optimizer": "sgd"},
        **{"strategy": "learning_loss", "epochs": 5, "batch_size": 128},
        **{"precision": "float32", "cycles": 3, "initial": 1000, "budget": 1000},
        **{"pool_subset": 5000, "seed": 0},
    }
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--torch_device", default="cpu", help='"cuda" on a GPU')
    parser.add_argument("--json", type=Path, default=Path("end_to_end.json"))
    parser.add_argument("--torch", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.torch:
        return torch_side(flags.torch)
    rounds = []
    for number in range(1, flags.rounds + 1):
        results = {}
        with tempfile.TemporaryDirectory() as folder:
            for side in SIDES:
                print(f"round {number}/{flags.rounds}: {side}", file=sys.stderr)
                if side.startswith("aljax"):
                    results[side] = run_aljax(settings(flags), Path(folder))
                else:
                    results[side] = run_torch(side, settings(flags), flags.torch_device)
        check_same(results)
        rounds.append(results)
        found = report(flags, rounds)
        flags.json.write_text(json.dumps(found, indent=2) + "\n")
    show(found)


if __name__ == "__main__":
    main()
