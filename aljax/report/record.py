"""One run as a report knows it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from aljax import metrics

FOLDERS = ("model", "optimizer", "strategy")  # what names a run's folder
Unit = tuple[int, int]  # seed and trial


@dataclass(frozen=True, eq=False)
class Record:
    """One run as its folder tells it."""

    workdir: Path
    folder: str  # inside the workdir
    config: dict[str, Any]  # by dotted name
    about: dict[str, Any]  # the rest of its config.json: versions, commit, device …
    trial: int
    rows: tuple[dict[str, Any], ...]  # as `read_rows` gives them
    state: str  # done, running, waiting or failed
    note: str = ""  # who is at it, or why it failed

    def told(self, of: Callable[[dict[str, Any]], Any]) -> Any:
        """What `of` reads in `about`; "A, then B" of a run that went on otherwise."""
        found = dict.fromkeys(map(of, (self.about, *self.about.get("later", []))))
        if len(found) == 1:
            return next(iter(found))
        return ", then ".join("not recorded" if v is None else str(v) for v in found)

    @property
    def path(self) -> Path:
        return self.workdir / self.folder

    @property
    def model(self) -> str:
        return self.config["model"]

    @property
    def optimizer(self) -> str:
        return self.config["optimizer"]

    @property
    def strategy(self) -> str:
        return self.config["strategy"]

    @property
    def pair(self) -> tuple[str, str]:
        return self.model, self.optimizer

    @property
    def cell(self) -> tuple[str, str, str]:
        """What all of its trials share."""
        return self.model, self.optimizer, self.strategy

    @property
    def seed(self) -> int:
        return self.config["seed"]

    @property
    def unit(self) -> Unit:
        """What pairs it with other runs: seed and trial give images and weights."""
        return self.seed, self.trial

    @property
    def leaky(self) -> bool:
        marked = self.about.get("leaky") or any(row["leaky"] for row in self.rows)
        return bool(marked) or self.config.get("reset") == "never"

    @property
    def held_out(self) -> bool:
        """Whether its accuracies are of labelled images, and not of the test set."""
        marked = any(row["evaluated_on"] == "validation" for row in self.rows)
        return marked or self.config.get("validation", 0) > 0

    @property
    def done(self) -> bool:
        return self.state == "done"

    @property
    def dataset(self) -> dict[str, Any] | None:
        """Class names, shape and class counts; None where not recorded."""
        return self.about.get("dataset")

    @property
    def labelled(self) -> np.ndarray:
        """Labels of each cycle `[cycles]` int64."""
        return np.array([row["labeled"] for row in self.rows], np.int64)

    def values(self, field: str) -> np.ndarray:
        """A number of each cycle `[cycles]` float64; NaN where not recorded."""
        return np.array([row.get(field) for row in self.rows], np.float64)

    @property
    def accuracies(self) -> np.ndarray:
        """Test accuracy of each cycle `[cycles]`, fractions."""
        return self.values("test_accuracy")

    @cached_property
    def aubc(self) -> float:
        """Area under accuracy over labels, a fraction."""
        return metrics.aubc(self.labelled, self.accuracies)
