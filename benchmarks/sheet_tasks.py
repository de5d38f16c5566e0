"""What a sheet measures: every measurement with its command line, in order.

The first one tells what machine this is; what comes after depends on it.
"""

import argparse
import importlib.util
import itertools
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import scaling
import throughput

from aljax.machine.devices import cores

HERE = Path(__file__).parent
FIRST = "ceiling/jax/float32"
PARTS = ("ceilings", "throughput", "calibration", "bits", "scaling")
PRECISIONS = ("float32", "bfloat16")
SIDES = ("aljax", "torch_tuned", "torch_compiled")
WORDS = {
    **{"aljax": "aljax", "torch_tuned": "PyTorch", "train": "training"},
    **{"torch_compiled": "compiled PyTorch", "score": "scoring"},
}
# Seconds that a measurement takes where none like it was made yet.
GUESSES = {
    "cpu": {"aljax": 60, "torch_tuned": 30, "torch_compiled": 80, "short": 15},
    "gpu": {"aljax": 45, "torch_tuned": 20, "torch_compiled": 80, "short": 20},
}
# Of a step, about, over ResNet18's; a GPU spends its time on compiling, which is less.
WORK = {"resnet18": 1.0, "resnet34": 1.7, "resnet50": 3.0}
# Batches of training and of scoring in a pass, and passes: a pass of a GPU takes a
# second or more.
SIZES = {"cpu": (1, 1, 4), "gpu": (300, 100, 5)}
CALIBRATION_SECONDS = 360  # of training; a slower machine trains a narrower network
RECIPE_IMAGES = 200 * 1000  # epochs times labels
MANNERS = ("undisturbed", "stopped", "resumed", "anew")


class Task(NamedTuple):
    """One measurement, which is a process of its own."""

    name: str  # unique; its first word is the part
    title: str  # for people
    line: list[str]
    guess: float  # seconds
    unit: str  # measurements to be made one right after the other
    environment: dict[str, str] | None = None
    fresh: Path | None = None  # a folder that must not be there when it begins
    goes_on: bool = False  # where it was stopped


def tasks(flags: argparse.Namespace, found: dict[str, dict], cache: Path) -> list[Task]:
    """All measurements of a sheet as far as is known, the most wanted ones first.

    Args:
        flags: of the command line.
        found: what was measured so far, by name.
        cache: folder of compiled programs and runs.
    """
    if FIRST not in found:
        return [_ceiling("jax", "float32", flags)]
    about = found[FIRST]
    flags.torch_device = throughput.TORCH_DEVICES.get(about["platform"], "cpu")
    made = []
    if "ceilings" in flags.parts:
        by = ("jax", "torch") if has_torch() else ("jax",)
        made += [_ceiling(b, p, flags) for p in flags.precisions for b in by]
    first = _throughput(flags, about, cache, 1)
    alike = [t for t in first if t.unit.startswith("resnet18")]
    made += alike + _calibration(flags, found, cache)
    bits = _bits(flags, about, cache)
    soon = [t for t in bits if t.name.startswith(f"bits/{flags.precisions[0]}/")]
    soon = [t for t in soon if not t.name.endswith("anew")]
    made += soon + _wanted_first([t for t in first if t not in alike], about)
    made += [t for t in bits if t not in soon] + _scaling(flags, about, cache, 1)
    for number in range(2, flags.rounds + 1):
        made += _throughput(flags, about, cache, number)
        made += _scaling(flags, about, cache, number)
    # Without products of bfloat16 such a measurement is slow, and known to be.
    slow = [t for t in made if "bfloat16" in t.name and not has_bfloat16(about)]
    return [t for t in made if t not in slow] + slow


def _wanted_first(made: list[Task], about: dict[str, Any]) -> list[Task]:
    """Deeper networks first, and on a GPU the precision that it is bought for."""
    first = PRECISIONS[0] if about["platform"] == "cpu" else PRECISIONS[1]
    deep = sorted(made, key=lambda t: t.unit.split()[0], reverse=True)
    return sorted(deep, key=lambda t: t.unit.split()[2] != first)


def has_torch() -> bool:
    """Whether PyTorch is installed."""
    return importlib.util.find_spec("torch") is not None


def has_bfloat16(about: dict[str, Any]) -> bool:
    """Whether the machine multiplies numbers of bfloat16; every GPU is taken to."""
    cpuinfo = Path("/proc/cpuinfo")
    words = cpuinfo.read_text().split() if cpuinfo.exists() else []
    hardware = {"avx512_bf16", "amx_bf16", "bf16"} & set(words)
    return about["platform"] != "cpu" or bool(hardware)


def _kind(about: dict[str, Any]) -> str:
    return "cpu" if about["platform"] == "cpu" else "gpu"


def _ceiling(by: str, precision: str, flags: argparse.Namespace) -> Task:
    line = [sys.executable, str(HERE / "ceilings.py"), f"--by={by}"]
    line += [f"--precision={precision}"]
    if by == "torch":
        line += [f"--torch_device={flags.torch_device}", f"--threads={cores()}"]
    title = f"matrix product and copy, {precision}, {by}"
    return Task(f"ceiling/{by}/{precision}", title, line, 15.0, f"ceiling {precision}")


def _throughput(flags, about, cache: Path, number: int) -> list[Task]:
    """One round of all cases: training and scoring, by all sides in turn."""
    if "throughput" not in flags.parts:
        return []
    sides = SIDES if has_torch() else SIDES[:1]
    cases = itertools.product(flags.models, flags.precisions, throughput.PHASES, sides)
    return [_one(flags, _kind(about), cache, case, number) for case in cases]


def _one(flags, kind: str, cache: Path, case: tuple, number: int) -> Task:
    """One side of a case (model, precision, phase, side)."""
    model, precision, phase, side = case
    train, score, passes = SIZES[kind]
    steps, size = train, flags.batch_size
    if phase == "score":
        steps, size = score, flags.score_batch_size
    wanted = argparse.Namespace(
        torch_device=flags.torch_device,
        passes=passes,
        steps=max(1, round(steps / WORK[model])),
        width=flags.width,
        precision=precision,
    )
    programs = str(cache / "programs")
    line = throughput.command(wanted, side, (model, phase, size), programs)
    environment = None
    if side != "aljax":
        line.append(f"--threads={cores()}")
        environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor")}
    network = model.replace("resnet", "ResNet")
    title = f"{network}, {WORDS[phase]}, {precision}, {WORDS[side]}, round {number}"
    return Task(
        f"throughput/{model}/{phase}/{precision}/{side}/{number}",
        title,
        line,
        GUESSES[kind][side] * (WORK[model] if kind == "cpu" else WORK[model] ** 0.5),
        f"{model} {phase} {precision} {number}",
        environment,
    )


def calibration(flags: argparse.Namespace, found: dict[str, dict]) -> tuple[int, float]:
    """The widest network that trains for the recipe's epochs in the time allowed.

    Half the width is taken to train 2.3 times as fast, as was measured on CPUs.

    Returns:
        its width, and the seconds that training will take.
    """
    name = "throughput/resnet18/train/float32/aljax/1"
    width, rate = flags.width, found.get(name, {}).get("images_per_second", 0.0)
    if not rate:
        gpu = found.get(FIRST, {}).get("platform") != "cpu"
        return (width if gpu else min(width, 8)), CALIBRATION_SECONDS
    while width > 8 and RECIPE_IMAGES / rate > CALIBRATION_SECONDS:
        width, rate = width // 2, rate * 2.3
    return width, RECIPE_IMAGES / rate


def _calibration(flags, found, cache: Path) -> list[Task]:
    if "calibration" not in flags.parts:
        return []
    width, seconds = calibration(flags, found)
    # What a call before this one has begun goes on as it is.
    begun = [*cache.glob("calibration_*")]
    width = int(begun[0].name.split("_")[1]) if begun else width
    line = _run(cache, "calibration", f"calibration_{width}", width)
    line += [f"--epochs={flags.epochs}"] if flags.epochs else []
    line += [f"--data={flags.data}"] if flags.data else []
    title, guess = f"one cycle of the calibration recipe, width {width}", 60 + seconds
    return [Task("calibration", title, line, guess, "calibration", goes_on=True)]


def _run(cache: Path, part: str, folder: str, width: int) -> list[str]:
    line = [sys.executable, str(HERE / "sheet_side.py"), f"--part={part}"]
    return [
        *line,
        f"--workdir={cache / folder}",
        f"--width={width}",
        f"--compile_cache_dir={cache / 'programs'}",
    ]


def _bits(flags, about, cache: Path) -> list[Task]:
    """Interrupted and resumed against undisturbed, and against compiled anew."""
    if "bits" not in flags.parts:
        return []
    kind, made = _kind(about), []
    width = flags.width if kind == "gpu" else min(flags.width, 16)
    for precision in flags.precisions:
        for manner in MANNERS:
            own = "stopped" if manner == "resumed" else manner
            line = _run(cache, "bits", f"bits_{precision}_{own}", width)
            line += [f"--precision={precision}"]
            line += [f"--manner={'undisturbed' if manner == 'anew' else manner}"]
            line += ["--compile_cache_dir="] if manner == "anew" else []
            title = f"bits of a short run, {precision}, {manner}"
            guess, unit = GUESSES[kind]["short"] * 2.0, f"bits {precision}"
            name = f"bits/{precision}/{manner}"
            fresh = None if manner == "resumed" else cache / f"bits_{precision}_{own}"
            made.append(Task(name, title, line, guess, unit, fresh=fresh))
    return made


def scaling_flags(flags, about: dict[str, Any]) -> argparse.Namespace:
    """What `scaling.py` would be told: all devices, or two virtual ones of a CPU."""
    kind, count = _kind(about), about["devices"]
    if kind == "cpu":
        count = 2 if cores() > 1 else 1
    return argparse.Namespace(
        devices=[n for n in (1, 2, 4, 8, 16) if n <= count],
        processes=[1],
        phases=["train"] if kind == "cpu" else list(throughput.PHASES),
        model="resnet18",
        precision="float32",
        width=flags.width,
        batch_size=flags.batch_size,
        score_batch_size=flags.score_batch_size,
        steps=1 if kind == "cpu" else 100,
    )


def _scaling(flags, about, cache: Path, number: int) -> list[Task]:
    wanted, made = scaling_flags(flags, about), []
    if "scaling" not in flags.parts or wanted.devices == [1]:
        return []
    for case in scaling.cases(wanted):
        line = scaling.command(wanted, case)
        line += [f"--compile_cache_dir={cache / 'programs'}"]
        name = "/".join(map(str, ("scaling", *case[:4], number)))
        many = "one device" if case.devices == 1 else f"{case.devices} devices"
        title = f"{WORDS[case.phase]} on {many}, {case.scaling}"
        guess, unit = GUESSES[_kind(about)]["aljax"], f"scaling {number}"
        environment = scaling.environment_of(case)
        title = f"{title}, round {number}"
        made.append(Task(name, title, line, guess, unit, environment))
    return made
