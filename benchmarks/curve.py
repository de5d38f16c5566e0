"""Draws test accuracy over labels from a workdir's `results.json`.

    python benchmarks/curve.py runs/c10 curve.png "CIFAR-10, ResNet18 of width 16"

One line per strategy, optimizer and model; where there are several trials, their mean
and every trial as a dot.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

# Okabe & Ito, Color Universal Design, 2008: distinct for colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def lines(results: dict):
    """Yields the name, labels `[cycles]` and accuracies `[trials, cycles]` of each."""
    for strategy, optimizers in results["strategies"].items():
        for models in optimizers.values():
            for curve in models.values():
                cycles = min(map(len, curve["accuracies"]))
                accuracies = [trial[:cycles] for trial in curve["accuracies"]]
                labels = np.array(curve["labeled_sizes"][0][:cycles])
                name = f"{strategy.replace('_', ' ')}, {curve['label']}"
                yield name, labels, np.array(accuracies)


def draw(results: dict, path: Path, title: str) -> None:
    """Writes the figure."""
    figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
    for (name, labels, accuracies), colour in zip(
        lines(results), COLOURS, strict=False
    ):
        axes.plot(labels, accuracies.mean(0), "-o", color=colour, label=name, ms=4)
        if len(accuracies) > 1:
            repeated = np.tile(labels, (len(accuracies), 1))
            axes.plot(repeated, accuracies, ".", color=colour, alpha=0.4)
    axes.set(xlabel="labelled images", ylabel="test accuracy (%)", title=title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    workdir, path, title = sys.argv[1:]
    draw(json.loads((Path(workdir) / "results.json").read_text()), Path(path), title)
