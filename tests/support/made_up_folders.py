"""Writes run folders with made-up numbers, in the form of real ones and in no time."""

import itertools
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aljax.config import Config, Data, flatten

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
POOL, TEST, BINS = 50_000, 1000, 15
Accuracies = Callable[[str, str, str, int], Sequence[float] | None]


@dataclass(frozen=True)
class Grid:
    """What is run; `accuracies(model, optimizer, strategy, trial)` says how well.

    It returns `[cycles]` fractions, fewer for a run that is not finished, None for one
    that was never begun.
    """

    accuracies: Accuracies
    models: Sequence[str] = ("resnet18",)
    optimizers: Sequence[str] = ("sgd",)
    strategies: Sequence[str] = ("random", "entropy")
    trials: int = 5
    cycles: int = 10
    config: Mapping[str, Any] = field(default_factory=dict)  # by dotted name
    about: Mapping[str, Any] = field(default_factory=dict)  # beside it in config.json
    classes: Sequence[str] = CLASSES
    listed: int = 20  # bought images that a row lists, instead of all
    older: bool = False  # rows and configurations as they were before these were kept
    failed: Mapping[str, str] = field(default_factory=dict)  # folder -> reason


def write(workdir: Path, grid: Grid) -> Path:
    """Writes a workdir; returns it."""
    cells = itertools.product(grid.models, grid.optimizers, grid.strategies)
    names = ("model", "optimizer", "strategy")
    levels = (grid.models, grid.optimizers, grid.strategies)
    lists = {name: list(level) for name, level in zip(names, levels, strict=True)}
    workdir.mkdir(parents=True, exist_ok=True)
    for cell in cells:
        for trial in range(1, grid.trials + 1):
            accuracies = grid.accuracies(*cell, trial)
            if accuracies is not None:
                write_run(workdir, grid, cell, trial, accuracies)
    sweep = {name: values for name, values in lists.items() if len(values) > 1}
    first = dict(zip(names, (level[0] for level in levels), strict=True))
    config = _config(grid) | first | {"sweep": sweep}
    content = {"config": config, **_environment(), "grids": [lists]}
    (workdir / "config.json").write_text(json.dumps(content))
    return workdir


def write_run(
    workdir: Path,
    grid: Grid,
    cell: tuple[str, str, str],
    trial: int,
    accuracies: Sequence[float],
) -> Path:
    """Writes the folder of one run; returns it."""
    folder = workdir.joinpath(*cell, f"trial_{trial}")
    folder.mkdir(parents=True, exist_ok=True)
    model, optimizer, strategy = cell
    config = _config(grid) | {
        **{"model": model, "optimizer": optimizer, "strategy": strategy},
    }
    about = {"trial": trial, "label": f"{model} + {optimizer}", "leaky": False}
    about |= {"data_fingerprint": "5ca1ab1e" * 8, **_environment()}
    if not grid.older:
        about["dataset"] = {
            "class_names": list(grid.classes),
            "image_shape": [32, 32, 3],
            "pool_class_counts": [POOL // len(grid.classes)] * len(grid.classes),
            "test_class_counts": [TEST // len(grid.classes)] * len(grid.classes),
        }
    about["leaky"] = config["reset"] == "never"
    content = {"config": config, **about, **grid.about}
    (folder / "config.json").write_text(json.dumps(content))
    rows = _rows(grid, config, trial, accuracies)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "cycles.jsonl").write_text(lines)
    name = folder.relative_to(workdir).as_posix()
    if name in grid.failed:
        failure = {"reason": f"{name}: {grid.failed[name]}", "time": "2026-01-01"}
        (folder / "failed.json").write_text(json.dumps(failure))
    return folder


def _config(grid: Grid) -> dict[str, Any]:
    made = Config(trials=grid.trials, cycles=grid.cycles, data=Data("cifar10"))
    return flatten(made) | dict(grid.config)


def _environment() -> dict[str, Any]:
    return {
        "versions": {"aljax": "0.1.0", "jax": "0.10.2", "python": "3.11.7"},
        "commit": "0123456789ab",
        "device": "1 x NVIDIA H100",
        "parallel": "shard_map",
        "processes": 1,
        "xla_flags": "",
    }


def _rows(
    grid: Grid, config: dict[str, Any], trial: int, accuracies: Sequence[float]
) -> list[dict[str, Any]]:
    classes = len(grid.classes)
    start = np.random.default_rng((config["seed"], trial))
    first = start.permutation(POOL)[: grid.listed]
    name = "/".join(
        map(str, (config["model"], config["optimizer"], config["strategy"]))
    )
    own = np.random.default_rng((config["seed"], trial, zlib.crc32(name.encode())))
    pool = own.permutation(POOL)
    pool = pool[~np.isin(pool, first)]
    rows = []
    for cycle, accuracy in enumerate(accuracies, 1):
        end = (cycle - 1) * grid.listed
        bought = pool[end - grid.listed : end] if cycle > 1 else first
        row = {
            "trial": trial,
            "cycle": cycle,
            **_numbers(config, cycle, accuracy, accuracies[0]),
            **_classes(own, accuracy, classes),
            "queried": bought.tolist(),
            "leaky": config["reset"] == "never",
        }
        if not grid.older:
            row |= _bought(own, bought, cycle, accuracy, classes, config["strategy"])
            row |= _calibration(accuracy)
        rows.append(row)
    return rows


def _numbers(
    config: dict[str, Any], cycle: int, accuracy: float, first: float
) -> dict[str, Any]:
    """What is one number in each cycle; costs grow with the network."""
    size = {"resnet18": 1.0, "resnet34": 1.9, "resnet50": 2.6}.get(config["model"], 3.0)
    since = (cycle - 1) * config["budget"]
    return {
        "labeled": config["initial"] + since,
        "test_accuracy": float(accuracy),
        "test_loss": float(-np.log(max(accuracy, 1e-3))),
        "f1_macro": float(max(accuracy - 0.01, 0)),
        "label_efficiency": float((accuracy - first) * POOL / since) if since else None,
        "loss_ranking_accuracy": 0.7,
        "train_seconds": 0.02 * size * (config["initial"] + since),
        "evaluate_seconds": 1.5 * size,
        "query_seconds": 0.1 if config["strategy"] == "random" else 5.0 * size,
        "compile_seconds": 20.0 * size if cycle == 1 else 0.0,
        "train_images_per_second": 10_000.0 / size,
        "score_images_per_second": None if cycle == 1 else 30_000.0 / size,
        "peak_device_bytes": int(4e9 * size),
        "peak_host_bytes": 2_000_000_000,
    }


def _classes(own: np.random.Generator, accuracy: float, classes: int) -> dict[str, Any]:
    """A confusion of classes that are not equally hard, and its recalls."""
    images = TEST // classes
    hard = np.linspace(0.08, -0.08, classes)
    right = np.round(images * np.clip(accuracy + hard, 0, 1)).astype(int)
    confusion = np.zeros((classes, classes), int)
    for label in range(classes):
        others = own.multinomial(
            images - right[label], [1 / (classes - 1)] * (classes - 1)
        )
        confusion[label] = np.insert(others, label, right[label])
    return {
        "class_accuracy": (right / images).tolist(),
        "confusion": confusion.tolist(),
    }


def _bought(
    own: np.random.Generator,
    bought: np.ndarray,
    cycle: int,
    accuracy: float,
    classes: int,
    strategy: str,
) -> dict[str, Any]:
    labels = bought % classes
    row = {"queried_labels": labels.tolist()}
    if cycle == 1:
        return row | {"queried_predictions": None, "queried_scores": None}
    wrong = own.random(len(bought)) > accuracy
    said = np.where(wrong, (labels + 1) % classes, labels).tolist()
    scores = np.sort(own.random(len(bought)))[::-1].tolist()
    if strategy == "random":
        said = scores = None
    return row | {"queried_predictions": said, "queried_scores": scores}


def _calibration(accuracy: float) -> dict[str, Any]:
    """Ten of the fifteen bins hold images; each is five points too sure."""
    middle = (np.arange(BINS) + 0.5) / BINS
    filled = middle > 1 / 3
    return {
        "calibration_error": 0.05 + 0.1 * (1 - accuracy),
        "reliability": {
            "images": [TEST // 10 * bool(f) for f in filled],
            "confidence": [
                float(m) if f else None for m, f in zip(middle, filled, strict=True)
            ],
            "accuracy": [
                float(m) - 0.05 if f else None
                for m, f in zip(middle, filled, strict=True)
            ],
        },
    }
