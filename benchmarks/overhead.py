"""What an experiment adds to its arithmetic: saves, batches, copies to the host.

    python benchmarks/overhead.py --json=overhead.json

Saving: training of so many steps with one save at its beginning, which a thread writes
meanwhile, against the same without. The default interval between saves is 60 s; `share`
is what they add to the training of as long. Scoring: a pass over images in batches, as
an experiment makes it, against the bare calls of the compiled program. Both are done in
turn in one process, which side first changing from round to round.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from throughput import MODELS, positive

from aljax.machine import allocator


def seconds(work: Callable[[], None]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(with_it: Callable, without: Callable, rounds: int) -> dict:
    """Times two calls in turn, after one of each that is not counted.

    Returns:
        Seconds of both by round and their medians, and the median difference.
    """
    times: dict[str, list[float]] = {"with": [], "without": []}
    sides = [("with", with_it), ("without", without)]
    for number in range(rounds + 1):
        for name, work in sides if number % 2 else reversed(sides):
            took = seconds(work)
            times[name] += [took] if number else []
        print(f"round {number}/{rounds}", file=sys.stderr)
    costs = [a - b for a, b in zip(times["with"], times["without"], strict=True)]
    return {
        "seconds": {name: statistics.median(t) for name, t in times.items()},
        "seconds_rounds": times,
        "cost_seconds": statistics.median(costs),
        "cost_rounds": costs,
    }


def saving(measured, rounds: int) -> dict:
    """Seconds that a save costs the training beside it, and its share at 60 s."""
    import jax
    import numpy as np

    from aljax.config import Config
    from aljax.runs.checkpoint import Checkpoints, Progress

    numbers, waits = iter(range(10**9)), []
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder))

        def train():
            measured.round(next(numbers))

        def save_and_train():
            content = measured.state, np.arange(10_000), Progress(1)
            waits.append(seconds(lambda: checkpoints.save(*content)))
            train()

        row = compare(save_and_train, train, rounds)
        checkpoints.close()
    interval = Config().checkpoint_seconds
    return row | {
        "returns_after_seconds": statistics.median(waits),
        "state_bytes": sum(leaf.nbytes for leaf in jax.tree.leaves(measured.state)),
        "share_rounds": [cost / interval for cost in row["cost_rounds"]],
    }


def scoring(measured, rounds: int) -> dict:
    """The share of a pass over images that is not the program's arithmetic."""
    import jax
    import numpy as np

    from aljax.machine import devices as machine

    flags, state = measured.flags, measured.state
    batch = np.arange(flags.score_batch_size, dtype=np.int32)
    batch = machine.replicate(batch, measured.devices)

    def bare():
        calls = -(-flags.images // flags.score_batch_size)
        for _ in range(calls):
            outputs = measured.program(
                state.variables, state.loss_params, measured.data[0], batch
            )
        jax.block_until_ready(outputs)

    row = compare(lambda: measured.round(0), bare, rounds)
    both = zip(row["cost_rounds"], row["seconds_rounds"]["without"], strict=True)
    return row | {"share_rounds": [cost / without for cost, without in both]}


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=MODELS, default="resnet18")
    parser.add_argument("--optimizer", default="sgd")
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16"), default="float32"
    )
    counts = {
        **{"width": 64, "batch_size": 128, "score_batch_size": 512, "devices": 1},
        **{"train_images": 1280, "score_images": 5120, "rounds": 5},
    }
    for name, default in counts.items():
        parser.add_argument(f"--{name}", type=positive, default=default)
    parser.add_argument("--compile_cache_dir", default="~/.cache/aljax/programs")
    parser.add_argument("--json", type=Path, default=Path("overhead.json"))
    return parser.parse_args()


def main() -> None:
    from aljax_side import Measured

    from aljax.machine import devices as machine
    from aljax.runs.provenance import provenance

    flags = parse()
    settings = vars(flags) | {"json": flags.json.name}
    machine.use_compile_cache(flags.compile_cache_dir)
    rows = []
    for phase, measure in (("train", saving), ("score", scoring)):
        case = {"phase": phase, "images": getattr(flags, f"{phase}_images")}
        measured = Measured(argparse.Namespace(**vars(flags) | case))
        row = {"phase": phase} | measure(measured, flags.rounds)
        row["share"] = statistics.median(row["share_rounds"])
        rows.append(row)
        low, high = min(row["share_rounds"]), max(row["share_rounds"])
        what = {"train": "saving adds to training", "score": "a pass adds to scoring"}
        print(f"{what[phase]}: {row['share']:+.2%} [{low:+.2%}, {high:+.2%}]")
    report = provenance() | {"settings": settings, "rows": rows}
    flags.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    allocator.prepare()
    main()
