"""Prints test accuracy over labels from a workdir's `results.json`, as Markdown.

    python benchmarks/curve.py runs/c10

One line per strategy, optimizer and model: accuracies in percent at 1k, 2k, … labels,
and the area under the budget curve; of several trials the mean and the standard
deviation. `aljax report` draws them.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from aljax.metrics import aubc


def lines(results: dict) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yields the name, labels `[cycles]` and accuracies `[trials, cycles]` of each."""
    for strategy, optimizers in results["strategies"].items():
        for models in optimizers.values():
            for curve in models.values():
                cycles = min(map(len, curve["accuracies"]))
                accuracies = [trial[:cycles] for trial in curve["accuracies"]]
                labels = np.array(curve["labeled_sizes"][0][:cycles])
                name = f"{strategy.replace('_', ' ')}, {curve['label']}"
                yield name, labels, np.array(accuracies)


def mean(values: np.ndarray) -> str:
    """The mean over trials `[trials]`, and the sample standard deviation of several."""
    spread = f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else ""
    return f"{values.mean():.2f}{spread}"


def table(results: dict) -> str:
    """All curves as a table in Markdown; lines that share no labels have their own."""
    shown, above = [], None
    for name, labels, accuracies in lines(results):
        areas = np.array([aubc(labels, trial) for trial in accuracies])
        if labels.tolist() != above:
            above = labels.tolist()
            heads = ["labels", *(f"{count / 1000:g}k" for count in above), "AUBC", "n"]
            shown += [""] if shown else []
            shown += [_row(heads), "|---" * len(heads) + "|"]
        cells = map(mean, [*accuracies.T, areas])
        shown.append(_row([name, *cells, str(len(accuracies))]))
    return "\n".join(shown)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    (workdir,) = sys.argv[1:]
    path = Path(workdir) / "results.json"
    if not path.is_file():
        sys.exit(f"{path}: there is no such file; name a finished workdir.")
    print(table(json.loads(path.read_text())))
