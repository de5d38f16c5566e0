"""Grids: which runs an experiment is made of, and where each lives in the workdir.

A run is one tuple (dataset, model, optimizer, strategy, trial); `sweep` makes a grid.
"""

import difflib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from aljax.config import (
    Config,
    check_types,
    flatten,
    labels_in,
    replace,
    validate,
)
from aljax.lookup import check_name
from aljax.registered import check_registered
from aljax.strategies import STRATEGIES, Options

# Only how a run is carried out, never what comes out of it.
OPERATIONAL = ("trials", "sweep", "checkpoint_seconds", "data.path")
SETTINGS = "optimizers."  # what the names of settings of optimizers begin with
# A run's folder is named by these.
FOLDERS = ("model", "optimizer", "strategy")
# Beside these, every setting of the optimizers that runs use.
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
    "validation",
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
    def dropout(self) -> float:
        """Share of the embedding that training leaves out; 0 for most strategies."""
        stochastic = STRATEGIES[self.config.strategy].stochastic
        return self.config.query.dropout if stochastic else 0.0

    @property
    def training_images(self) -> int:
        """Images that the whole run trains on, each epoch counted."""
        config = self.config
        labels = sum(labels_in(config, 1 + i) for i in range(config.cycles))
        return config.epochs * (labels - config.cycles * config.validation)

    @property
    def label(self) -> str:
        """What a legend calls it: "ResNet18 + SGD", marked where it leaks."""
        names = {
            **{"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSProp"},
            "adam_sgd": "Adam then SGD",
        }
        optimizer = names.get(self.config.optimizer, self.config.optimizer)
        model = self.config.model.replace("resnet", "ResNet")
        leak = " (leaky)" if self.leaky else ""
        held_out = " (validation)" if self.config.validation else ""
        return f"{model} + {optimizer}{leak}{held_out}"


def members(config: Config) -> Iterator[tuple[str, Config]]:
    """Yields the members of the grid: the folder of each and its own configuration.

    A setting of an optimizer is swept where that optimizer is used, and nowhere else.
    """
    plain = replace(config, "sweep", {})
    for chosen in _combinations(config.sweep, shared(config.sweep)):
        optimizer = chosen.get("optimizer", config.optimizer)
        own = [n for n in config.sweep if n.startswith(f"{SETTINGS}{optimizer}.")]
        for settings in _combinations(config.sweep, own):
            member = plain
            for name, value in (chosen | settings).items():
                member = replace(member, name, value)
            yield _folder(member, chosen | settings), member


def shared(names: Iterable[str]) -> list[str]:
    """Swept fields that every member of a grid has a value of its own of."""
    return [name for name in names if not name.startswith(SETTINGS)]


def _combinations(
    sweep: dict[str, Any], names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*(sweep[name] for name in names)):
        yield dict(zip(names, values, strict=True))


def _folder(member: Config, chosen: dict[str, Any]) -> str:
    extra = [f"{name}={v}" for name, v in chosen.items() if name not in FOLDERS]
    parts = [",".join(extra)] if extra else []
    return "/".join(parts + [str(getattr(member, field)) for field in FOLDERS])


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


def grid_without(config: Config, name: str) -> dict[str, list]:
    """The grid less a field that has one value; with an optimizer, others' settings."""
    swept = {n: v for n, v in config.sweep.items() if n != name}
    if name != "optimizer":
        return swept
    own = f"{SETTINGS}{config.optimizer}."
    return {
        n: values
        for n, values in swept.items()
        if n.startswith(own) or not n.startswith(SETTINGS)
    }


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
    take more or fewer values, and swept settings of an optimizer that only one of them
    uses are of no run of the other. A field that `old` lacks, being younger, had the
    value that is the default now. Returns one text per field that contradicts.
    """
    defaults = flatten(Config())
    old = {name: defaults[name] for name in new.keys() & defaults.keys()} | old

    def values(flat, name):
        return flat.get("sweep", {}).get(name, [flat.get(name)])

    found = []
    of_both = set(values(old, "optimizer")) & set(values(new, "optimizer"))
    for name in sorted((old.keys() | new.keys()) - set(OPERATIONAL)):
        before, after = values(old, name), values(new, name)
        sweeps = [name in flat.get("sweep", {}) for flat in (old, new)]
        setting = name.startswith(SETTINGS)
        if setting and any(sweeps) and name.split(".")[1] not in of_both:
            continue
        swept = all(sweeps)
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
    """Checks every member of an experiment's grid; raises like `validate`.

    A value that each member replaces needs to be of the right type alone.
    """
    check_registered()
    check_types(replace(config, "sweep", {}), "--config")
    if not isinstance(config.sweep, dict):
        raise ValueError(f"--config.sweep: {config.sweep!r} is not a dict of lists.")
    settings = [name for name in flatten(config) if name.startswith(SETTINGS)]
    for name, values in config.sweep.items():
        sweepable = (*SWEEPABLE, *settings)
        if name in flatten(config) and name not in sweepable:
            raise ValueError(
                f"--config.sweep: {name!r} cannot be swept; set it for all runs, as "
                f"--config.{name}, or sweep one of: {', '.join(SWEEPABLE)}."
            )
        check_name(sweepable, "--config.sweep", name)
        if not isinstance(values, (list, tuple)) or not values:
            raise ValueError(
                f"--config.sweep: {name!r} has {values!r}; give a list of values, "
                f"for example {{'strategy': ('random', 'entropy')}}."
            )
        if any(one == other for one, other in itertools.combinations(values, 2)):
            raise ValueError(f"--config.sweep: {name!r} lists a value twice: {values}.")
    used = config.sweep.get("optimizer", [config.optimizer])
    for name in config.sweep:
        if name.startswith(SETTINGS) and name.split(".")[1] not in used:
            raise ValueError(
                f"--config.sweep: {name!r} is of an optimizer that no run uses; leave "
                "it out, or let --config.sweep have that optimizer too (now "
                f"{', '.join(map(str, used))})."
            )
    for _, member in members(config):
        validate(member)
