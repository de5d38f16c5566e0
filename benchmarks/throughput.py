"""Images per second and memory of training and scoring, against PyTorch.

    python benchmarks/throughput.py --models=resnet18,resnet34,resnet50 --json=out.json

Three sides do the same work on the same images: aljax; PyTorch as tuned as it gets
(channels_last, huge pages and glibc's settings of the aljax command, all cores, and the
faster of with and without `torch.compile`; --no-torch_compile leaves that out where
there is no C++ compiler); and PyTorch as the study's authors ran it (eager, NCHW, a
DataLoader). Each measurement is a process of its own that warms up first; each round
goes through all sides in turn, and ratios are taken within a round. The JSON is written
after every round.

Peak memory is the device's where it tells, else the resident set of the process.
The compile cache starts empty: `compile_seconds` is the largest of all rounds, the
first, and `ready_seconds` the shortest time from the start of a process to its first
finished pass, with programs from the cache if there are several rounds.
`ceiling_share` sets the multiplications of the direct algorithm (three times as many
when training) against the speed of one large matrix product of the same run: Winograd's
algorithm needs fewer, so it may exceed 1.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from process import call

HERE = Path(__file__).parent
SIDES = ("aljax", "torch_tuned", "torch_authors")
PHASES = ("train", "score")
MODELS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
# What two measurements must share to be compared.
SHARED = (
    *("platform", "model", "width", "optimizer", "phase", "images", "batch_size"),
    *("precision", "threads"),
)
TORCH_DEVICES = {"gpu": "cuda"}  # by JAX's platform; others: PyTorch's CPU


def command(
    flags: argparse.Namespace, side: str, case: tuple[str, str, int], programs: str
) -> list[str]:
    """The command line that measures one side of a case (model, phase, batch).

    `programs` is the folder of aljax's compile cache.
    """
    model, phase, batch = case
    if side == "aljax":
        start = [str(HERE / "aljax_side.py"), f"--compile_cache_dir={programs}"]
    else:
        manner = "authors" if side == "torch_authors" else "tuned"
        start = [str(HERE / "torch_baseline.py"), f"--side={manner}"]
        start += [f"--device={flags.torch_device}"]
        if side == "torch_compiled":
            start.append("--compile")
    size = "batch_size" if phase == "train" else "score_batch_size"
    passes = flags.passes if phase == "train" else max(1, flags.passes // 2)
    return [
        sys.executable,
        *start,
        f"--model={model}",
        f"--phase={phase}",
        f"--{size}={batch}",
        f"--width={flags.width}",
        f"--precision={flags.precision}",
        f"--images={flags.steps * batch}",
        f"--rounds={passes}",
    ]


def check_same(sides: dict[str, dict]) -> None:
    """Refuses to compare sides that ran with different settings: ValueError.

    The authors score in batches as large as those of training.
    """
    first, *others = sides
    for other in others:
        own = other == "torch_authors" and sides[other]["phase"] == "score"
        for name in SHARED:
            if own and name == "batch_size":
                continue
            a, b = (
                sides[s].get(name, sides[s]["settings"].get(name))
                for s in (first, other)
            )
            if a != b:
                raise ValueError(
                    f"{first} ran with {name}={a} and {other} with {name}={b}: these "
                    "are not comparable. Run both on the same machine and settings."
                )


def row(case: tuple, rounds: list[dict[str, dict]], ceiling: float | None) -> dict:
    """What a case has come to after some rounds of {side: measurement}.

    There is no ratio over a side that was not measured.
    """

    def median(side: str, name: str = "images_per_second") -> float:
        return statistics.median(r[side][name] for r in rounds)

    def ratios(side: str) -> list[float]:
        rates = ([r[s]["images_per_second"] for r in rounds] for s in ("aljax", side))
        return [a / b for a, b in zip(*rates, strict=True)]

    tuned = [side for side in rounds[0] if side in ("torch_tuned", "torch_compiled")]
    names, over = {"aljax": "aljax"}, {}
    if tuned:
        names["torch_tuned"] = best = max(tuned, key=median)
        over = {"ratio_rounds": ratios(best)}
        over["ratio_over_tuned"] = statistics.median(over["ratio_rounds"])
        over["torch_compile"] = best == "torch_compiled"
    if "torch_authors" in rounds[0]:
        names["torch_authors"] = "torch_authors"
        over["ratio_rounds_authors"] = ratios("torch_authors")
        over["ratio_over_authors"] = statistics.median(over["ratio_rounds_authors"])
    passes = 3 if case[1] == "train" else 1
    work = 2 * passes * rounds[0]["aljax"]["multiplications"]
    ours = [r["aljax"] for r in rounds]
    return {
        "model": case[0],
        "phase": case[1],
        "batch_size": case[2],
        "precision": ours[0]["precision"],
        "images_per_second": {name: median(side) for name, side in names.items()},
        **over,
        "peak_bytes": {name: median(s, "peak_bytes") for name, s in names.items()},
        "compile_seconds": max(r["compile_seconds"] for r in ours),
        "ready_seconds": min(r["ready_seconds"] for r in ours),
        "ceiling_share": median("aljax") * work / ceiling if ceiling else None,
        "rounds": len(rounds),
    }


def table(report: dict) -> str:
    """The report as lines of text."""
    lines = [
        f"{report['device']} · commit {report['commit']} · {report['rounds']} rounds, "
        "medians [range]",
        "model      phase batch  images/s: aljax  tuned authors   over tuned         "
        "authors  memory  ready  ceiling",
    ]
    for r in report["rows"]:
        rates = r["images_per_second"]
        low, high = min(r["ratio_rounds"]), max(r["ratio_rounds"])
        memory = r["peak_bytes"]["aljax"] / r["peak_bytes"]["torch_tuned"]
        lines.append(
            f"{r['model']:10} {r['phase']:5} {r['batch_size']:5} "
            f"{rates['aljax']:16.1f} "
            f"{rates['torch_tuned']:6.1f} {rates['torch_authors']:7.1f}   "
            f"{r['ratio_over_tuned']:4.2f} [{low:.2f}–{high:.2f}]  "
            f"{r['ratio_over_authors']:8.2f} {memory:7.2f} {r['ready_seconds']:5.1f}s "
            f"{r['ceiling_share']:7.0%}"
        )
    return "\n".join(lines)


def draw(report: dict, path: Path) -> None:
    """One panel for training and one for scoring: bars per model, ratios on top."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    phases = list(dict.fromkeys(r["phase"] for r in report["rows"]))
    figure, axes = pyplot.subplots(
        1, len(phases), figsize=(4.2 * len(phases), 3.4), layout="constrained"
    )
    names = {"torch_authors": "PyTorch, authors' way", "torch_tuned": "PyTorch, tuned"}
    names["aljax"] = "aljax"
    for axis, phase in zip([axes] if len(phases) == 1 else axes, phases, strict=True):
        rows = [r for r in report["rows"] if r["phase"] == phase]
        for i, (side, name) in enumerate(names.items()):
            places = [k + 0.27 * (i - 1) for k in range(len(rows))]
            rates = [r["images_per_second"][side] for r in rows]
            colour = ("#bbbbbb", "#7a7a7a", "#d1495b")[i]
            bars = axis.bar(places, rates, 0.25, label=name, color=colour)
            if side == "aljax":
                labels = [f"{r['ratio_over_tuned']:.2f} × tuned" for r in rows]
                axis.bar_label(bars, labels, fontsize="small")
        ticks = [r["model"].replace("resnet", "ResNet") for r in rows]
        axis.set_xticks(range(len(rows)), ticks)
        batch = "/".join(dict.fromkeys(str(r["batch_size"]) for r in rows))
        phase = {"train": "training", "score": "scoring"}[phase]
        axis.set(title=f"{phase}, batch {batch}", ylabel="images per second")
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize="small", frameon=False)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def positive(text: str) -> int:
    """Reads a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def some_of(allowed: tuple[str, ...]):
    """Reads names out of `allowed`, between commas."""

    def parse(text: str) -> list[str]:
        for name in text.split(","):
            if name not in allowed:
                raise argparse.ArgumentTypeError(
                    f"{name!r} is not one of {', '.join(allowed)}"
                )
        return text.split(",")

    return parse


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", type=some_of(MODELS), default=list(MODELS[:3]))
    parser.add_argument("--phases", type=some_of(PHASES), default=list(PHASES))
    parser.add_argument(
        "--batch_sizes",
        type=lambda text: [positive(size) for size in text.split(",")],
        default=[128],
        help="of training",
    )
    parser.add_argument("--score_batch_size", type=positive, default=512)
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16"), default="float32"
    )
    parser.add_argument("--width", type=positive, default=64)
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument(
        "--steps", type=positive, help="batches in a pass (default: 1; 200 on a GPU)"
    )
    parser.add_argument("--passes", type=positive, default=2, help="timed in a process")
    parser.add_argument("--torch_device", help="default: what JAX runs on")
    parser.add_argument(
        "--torch_compile", action=argparse.BooleanOptionalAction, default=True
    )
    parser.add_argument("--json", type=Path, default=Path("throughput.json"))
    return parser.parse_args()


def summary(flags: argparse.Namespace, measured: dict, ceiling: float) -> dict:
    """All rows so far, and what a number needs beside it to be believed."""
    rounds = next(iter(measured.values()))
    last = rounds[-1]
    return {
        "device": last["aljax"]["device"],
        "commit": last["aljax"]["commit"],
        "versions": last["aljax"]["versions"] | last["torch_tuned"]["versions"],
        "threads": last["aljax"]["threads"],
        "environment": {
            "aljax": last["aljax"]["environment"],
            "torch_tuned": last["torch_tuned"]["settings"]["environment"],
        },
        "rounds": len(rounds),
        "settings": vars(flags) | {"json": flags.json.name},
        "ceiling_flops": ceiling,
        "rows": [row(case, found, ceiling) for case, found in measured.items()],
    }


def main() -> None:
    flags = parse()
    sizes = {"train": flags.batch_sizes, "score": [flags.score_batch_size]}
    cases = [
        (model, phase, size)
        for phase in flags.phases
        for model in flags.models
        for size in sizes[phase]
    ]
    sides = (*SIDES, *(("torch_compiled",) if flags.torch_compile else ()))
    found = call([sys.executable, str(HERE / "ceilings.py")])
    flags.torch_device = flags.torch_device or TORCH_DEVICES.get(
        found["platform"], "cpu"
    )
    # A GPU is faster than the host can start and await one step.
    flags.steps = flags.steps or {"gpu": 200}.get(found["platform"], 1)
    measured: dict[tuple, list] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory() as programs:
        for number in range(1, flags.rounds + 1):
            for case in cases:
                print(f"round {number}/{flags.rounds}: {case}", file=sys.stderr)
                lines = {s: command(flags, s, case, programs) for s in sides}
                results = {side: call(line) for side, line in lines.items()}
                check_same(results)
                measured[case].append(results)
            report = summary(flags, measured, found["flops"])
            flags.json.write_text(json.dumps(report, indent=2) + "\n")
    print(table(report))
    draw(report, flags.json.with_suffix(".png"))


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(str(error))
