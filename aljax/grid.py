"""Grids: which runs an experiment is made of, and where each lives in the workdir.

A run is one tuple (dataset, model, optimizer, strategy, trial); `sweep` makes a grid.
"""

import difflib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from aljax.config import Config, flatten, replace, validate
from aljax.lookup import lookup
from aljax.registered import check_registered
from aljax.strategies import Options

# Only how a run is carried out, never what comes out of it.
OPERATIONAL = ("trials", "sweep", "checkpoint_seconds", "data.path")
# A run's folder is named by these.
FOLDERS = ("model", "optimizer", "strategy")
SWEEPABLE = (
    *FOLDERS,
    "width",
    "epochs",
    "batch_size",
    "precision",
    "cycles",
    "initial",
    "budget",
    "initial_query",
    "pool_subset",
    "reset",
    "seed",
    "data.name",
    "data.image_size",
    *(f"query.{field.name}" for field in fields(Options)),
)


@dataclass(frozen=True)
class Run:
    """One trial of one member of the grid, and its folder inside the workdir."""

    config: Config
    trial: int  # counts from 1
    folder: str

    @property
    def leaky(self) -> bool:
        """Whether weights, and what they know of labels, pass from trial to trial."""
        return self.config.reset == "never"

    @property
    def training_images(self) -> int:
        """Images that the whole run trains on, each epoch counted."""
        c = self.config
        labels = (c.initial + i * c.budget for i in range(c.cycles))
        return c.epochs * sum(labels)

    @property
    def label(self) -> str:
        """What a legend calls it: "ResNet18 + SGD", marked where it leaks."""
        names = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSProp"}
        optimizer = names.get(self.config.optimizer, self.config.optimizer)
        model = self.config.model.replace("resnet", "ResNet")
        leak = " (leaky)" if self.leaky else ""
        return f"{model} + {optimizer}{leak}"


def members(config: Config) -> Iterator[tuple[str, Config]]:
    """Yields the members of the grid: the folder of each and its own configuration."""
    names = list(config.sweep)
    for values in itertools.product(*(config.sweep[name] for name in names)):
        member = replace(config, "sweep", {})
        for name, value in zip(names, values, strict=True):
            member = replace(member, name, value)
        extra = [
            f"{n}={v}" for n, v in zip(names, values, strict=True) if n not in FOLDERS
        ]
        parts = [",".join(extra)] if extra else []
        yield "/".join(parts + [str(getattr(member, f)) for f in FOLDERS]), member


def expand(config: Config) -> list[list[Run]]:
    """Lists the runs in groups; the runs of a group need each other, in order.

    A group is one run, except with `reset=never`, where a trial starts from the weights
    that the trial before it left behind.
    """
    groups = []
    for folder, member in members(config):
        runs = [
            Run(member, trial, f"{folder}/trial_{trial}")
            for trial in range(1, config.trials + 1)
        ]
        groups += [runs] if member.reset == "never" else [[run] for run in runs]
    return groups


def grid_values(config: Config) -> dict[str, list]:
    """Every value of the fields that name folders or are swept."""
    alone = {name: [getattr(config, name)] for name in FOLDERS}
    return alone | {name: list(values) for name, values in config.sweep.items()}


def shard(groups: list, text: str | None) -> list:
    """Picks the groups of `--shard=K/N`: every N-th, beginning with the K-th."""
    if text is None:
        return groups
    try:
        k, n = (int(part) for part in text.split("/"))
    except ValueError:
        k = n = 0
    if not 1 <= k <= n:
        raise ValueError(
            f"--shard={text}: write K/N with 1 <= K <= N, "
            "for example --shard=3/8 for the third of eight."
        )
    return groups[k - 1 :: n]


def only(groups: list[list[Run]], folder: str) -> list[list[Run]]:
    """Picks the group of `--only=FOLDER`, or raises ValueError."""
    found = [group for group in groups if folder in (run.folder for run in group)]
    if not found:
        folders = [run.folder for group in groups for run in group]
        near = difflib.get_close_matches(folder, folders, n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise ValueError(
            f"--only={folder}: there is no such run{hint} --dry_run lists them, each "
            "behind its --workdir."
        )
    return found


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Compares two flattened configurations, where they say what is computed.

    A grid may have grown or be one part of the other: a field that names folders may
    take more or fewer values. A field that `old` lacks, being younger, had the value
    that is the default now. Returns one text per field that contradicts.
    """
    defaults = flatten(Config())
    old = {name: defaults[name] for name in new.keys() & defaults.keys()} | old

    def values(flat, name):
        return flat.get("sweep", {}).get(name, [flat.get(name)])

    found = []
    for name in sorted((old.keys() | new.keys()) - set(OPERATIONAL)):
        before, after = values(old, name), values(new, name)
        swept = name in old.get("sweep", {}) and name in new.get("sweep", {})
        related = set(map(str, before)) <= set(map(str, after)) or (
            set(map(str, after)) <= set(map(str, before))
        )
        grows = name in FOLDERS and ("sweep" in old or "sweep" in new) or swept
        if before != after and not (grows and related):
            found.append(f"{name} ({_shown(before)} there, {_shown(after)} here)")
    return found


def _shown(values: list) -> str:
    return ", ".join(map(str, values))


def validate_grid(config: Config) -> None:
    """Checks an experiment and every member of its grid; raises like `validate`."""
    check_registered()
    validate(replace(config, "sweep", {}))
    if not isinstance(config.sweep, dict):
        raise ValueError(f"--config.sweep: {config.sweep!r} is not a dict of lists.")
    for name, values in config.sweep.items():
        lookup(dict.fromkeys(SWEEPABLE), "--config.sweep", name)
        if not isinstance(values, (list, tuple)) or not values:
            raise ValueError(
                f"--config.sweep: {name!r} has {values!r}; give a list of values, "
                f"for example {{'strategy': ('random', 'entropy')}}."
            )
        if len(set(map(repr, values))) < len(values):
            raise ValueError(f"--config.sweep: {name!r} lists a value twice: {values}.")
    for _, member in members(config):
        validate(member)
