"""Strong and weak scaling of training and scoring over devices and processes.

    python benchmarks/scaling.py --devices=1,2,4,8 --json=scaling.json
    python benchmarks/scaling.py --devices=2,4 --processes=1,2 --json=processes.json
    python benchmarks/scaling.py --devices=8,16 --processes=1,2 \\
        --srun='srun --nodes={processes} --ntasks-per-node=1'

Strong: one batch, shared out over more devices. Weak: as much for each device as one
alone gets, compared with one device that does all of it. Every measurement is a process
of its own; rounds go through all of them in turn.

Several processes are started on this machine, each with its share of the GPUs, or by
the given `srun` on many.

On GPUs `efficiency` is throughput over n times that of one device. A CPU has no second
device: there, n virtual ones share the same cores, and only `overhead` is meant, the
time that sharing out adds per step against one device doing the same work.
"""

import argparse
import json
import os
import shlex
import socket
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from process import call, printed
from throughput import MODELS, PHASES, positive, some_of

from aljax.launch.side_by_side import Share, shares

SIDE = Path(__file__).with_name("aljax_side.py")
VIRTUAL = "--xla_force_host_platform_device_count="


class Case(NamedTuple):
    """What one process, or several together, measure."""

    phase: str
    scaling: str  # strong, weak, or alone: one device doing the same work
    devices: int
    batch: int  # of all devices
    processes: int = 1


def command(flags: argparse.Namespace, case: Case) -> list[str]:
    """The command line of every process of a case."""
    size = "batch_size" if case.phase == "train" else "score_batch_size"
    return [
        sys.executable,
        str(SIDE),
        f"--phase={case.phase}",
        f"--{size}={case.batch}",
        *(f"--{name}={getattr(flags, name)}" for name in ("model", "width")),
        f"--precision={flags.precision}",
        f"--devices={case.devices}",
        f"--images={flags.steps * case.batch}",
        "--rounds=1",
    ]


def environment_of(case: Case) -> dict[str, str]:
    """The environment of every process of a case: a CPU has as many virtual devices."""
    old = os.environ.get("XLA_FLAGS", "")
    each = case.devices // case.processes
    return os.environ | {"XLA_FLAGS": f"{old} {VIRTUAL}{each}".strip()}


def measure(flags: argparse.Namespace, case: Case) -> dict:
    """What the first process of a case prints."""
    line, environment = command(flags, case), environment_of(case)
    if case.processes == 1:
        return call(line, environment)
    if flags.srun:
        srun = shlex.split(flags.srun.format(processes=case.processes))
        return call([*srun, *line], environment)
    homes = shares(case.processes, "--processes")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    line += [f"--coordinator={address}", f"--processes={case.processes}"]

    def one(number: int, share: Share) -> str:
        # All cores: with one each, gloo took several times as long for its sums.
        own = environment | share.environment()
        return printed([*line, f"--process={number}"], own)

    with ThreadPoolExecutor(case.processes) as pool:
        said = list(pool.map(one, range(case.processes), homes))
    return json.loads(said[0].splitlines()[-1])


def cases(flags: argparse.Namespace) -> list[Case]:
    """Everything to be measured."""
    found = []
    for phase in flags.phases:
        batch = flags.batch_size if phase == "train" else flags.score_batch_size
        for n in flags.devices:
            if n == 1:
                found.append(Case(phase, "strong", 1, batch))
                continue
            found.append(Case(phase, "alone", 1, batch * n))
            for p in flags.processes:
                if n % p == 0:
                    found.append(Case(phase, "strong", n, batch, p))
                    found.append(Case(phase, "weak", n, batch * n, p))
    return found


def rows(measured: dict[Case, list[dict]]) -> list[dict]:
    """One row per case of several devices, against one device doing the same work."""
    table = []
    for case, rounds in measured.items():
        phase, scaling, n, batch, processes = case
        if scaling == "alone" or n == 1:
            continue
        first = batch // n if scaling == "weak" else batch
        one = measured[Case(phase, "strong", 1, first)]
        same = measured[Case(phase, "alone", 1, batch)] if scaling == "weak" else one
        rate = [r["images_per_second"] for r in rounds]
        overheads = [
            b["images_per_second"] / a - 1 for a, b in zip(rate, same, strict=True)
        ]
        efficiency = [
            a / (n * b["images_per_second"]) for a, b in zip(rate, one, strict=True)
        ]
        table.append(
            {
                "phase": phase,
                "scaling": scaling,
                "devices": n,
                "processes": processes,
                "batch_size": batch,
                "images_per_second": statistics.median(rate),
                "overhead": statistics.median(overheads),
                "overhead_rounds": overheads,
                "efficiency": statistics.median(efficiency),
                "collectives_per_step": rounds[0]["collectives"],
                "collective_bytes_per_step": rounds[0]["collective_bytes"],
            }
        )
    return table


def show(found: dict) -> None:
    """Prints the table."""
    if found["virtual"]:
        print("Virtual devices on one CPU: overhead is measured, not speed.")
    print(
        "phase  scaling devices processes batch   images/s  overhead [range]  "
        "collectives"
    )
    for row in found["rows"]:
        low, high = min(row["overhead_rounds"]), max(row["overhead_rounds"])
        print(
            f"{row['phase']:6} {row['scaling']:7} {row['devices']:7} "
            f"{row['processes']:9} {row['batch_size']:5} "
            f"{row['images_per_second']:10.1f} "
            f"{row['overhead']:+8.1%} [{low:+.1%}, {high:+.1%}] "
            f"{row['collectives_per_step']} of {row['collective_bytes_per_step']:,} B"
        )


def draw(found: dict, path: Path) -> None:
    """Overhead, or efficiency on real devices, over the number of devices."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    field = "overhead" if found["virtual"] else "efficiency"
    figure, axes = pyplot.subplots(figsize=(6.4, 3.2), layout="constrained")
    lines: dict[tuple, list] = {}
    for row in found["rows"]:
        kind = row["phase"], row["scaling"], row["processes"]
        lines.setdefault(kind, []).append((row["devices"], 100 * row[field]))
    for (phase, scaling, processes), line in lines.items():
        label = {"train": "training", "score": "scoring"}[phase] + f", {scaling}"
        if processes > 1:
            label += f", {processes} processes"
        style = {"strong": "-", "weak": "--"}[scaling]
        axes.plot(*zip(*line, strict=True), style, marker="o", label=label)
    virtual = "virtual " * found["virtual"]
    axes.set(xlabel=f"{virtual}devices", ylabel=f"{field}, %")
    axes.set_xticks(sorted({row["devices"] for row in found["rows"]}))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center", fontsize="small", frameon=False)
    figure.savefig(path, dpi=150)


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--devices",
        type=lambda text: sorted({1, *map(positive, text.split(","))}),
        default=[1, 2, 4, 8],
        help="counts, such as 1,2,4,8",
    )
    parser.add_argument(
        "--processes",
        type=lambda text: sorted(set(map(positive, text.split(",")))),
        default=[1],
        help="counts, such as 1,2; each divides the devices evenly",
    )
    parser.add_argument("--srun", help="what starts {processes} processes elsewhere")
    parser.add_argument("--phases", type=some_of(PHASES), default=list(PHASES))
    parser.add_argument("--model", choices=MODELS, default="resnet18")
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16"), default="float32"
    )
    counts = {
        **{"width": 64, "batch_size": 128, "score_batch_size": 512},
        **{"steps": 3, "rounds": 3},
    }
    for name, default in counts.items():
        parser.add_argument(f"--{name}", type=positive, default=default)
    parser.add_argument("--json", type=Path, default=Path("scaling.json"))
    flags = parser.parse_args()
    if max(flags.processes) > 1 and not flags.srun:
        try:
            shares(max(flags.processes), "--processes")
        except ValueError as error:
            parser.error(str(error))
    return flags


def report(flags: argparse.Namespace, measured: dict[Case, list[dict]]) -> dict:
    """What the rounds so far have come to."""
    some = next(iter(measured.values()))[0]
    about = {name: some[name] for name in ("device", "commit", "versions", "xla_flags")}
    settings = vars(flags) | {"json": flags.json.name}
    virtual = some["platform"] == "cpu"
    return about | {"virtual": virtual, "settings": settings, "rows": rows(measured)}


def main() -> None:
    flags = parse()
    measured: dict[Case, list[dict]] = {case: [] for case in cases(flags)}
    for number in range(flags.rounds):
        for case in measured:
            print(f"round {number + 1}/{flags.rounds}: {case}", file=sys.stderr)
            measured[case].append(measure(flags, case))
        found = report(flags, measured)
        flags.json.write_text(json.dumps(found, indent=2) + "\n")
    show(found)
    draw(found, flags.json.with_suffix(".png"))


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(str(error))
