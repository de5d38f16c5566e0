"""Settings: which runs may be compared with each other.

Runs of one setting share the images and every field of the configuration but network,
optimizer, strategy, seed and trial; runs of one network and optimizer share those of
the optimizer too, which may be tuned for each network. Runs of two settings meet
only where a setting is compared with another as a whole.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aljax.report import names
from aljax.report.record import FOLDERS, Record

# What tells runs of one setting apart, or only how they are carried out.
FREE = (*FOLDERS, "seed", "trials", "sweep", "checkpoint_seconds", "data.path")
IMAGES = "data_fingerprint"
Cell = tuple[str, str, str]


@dataclass(frozen=True, eq=False)
class Setting:
    """Runs that may be compared."""

    number: int  # counts from 1
    name: str  # what it has and other settings have not: "width 16"; "": the only one
    fields: dict[str, Any]  # the same as fields and values
    runs: tuple[Record, ...]

    @property
    def leaky(self) -> bool:
        return any(record.leaky for record in self.runs)

    @property
    def held_out(self) -> bool:
        return any(record.held_out for record in self.runs)

    @property
    def slug(self) -> str:
        """What sets names of its files apart: "" or "setting_2"."""
        return f"setting_{self.number}" if self.name else ""

    def stem(self, name: str) -> str:
        """The name of a file of this setting, which tells it from other settings'."""
        return f"{name}_{self.slug}" if self.slug else name

    @property
    def models(self) -> tuple[str, ...]:
        return self.levels("model")

    @property
    def optimizers(self) -> tuple[str, ...]:
        return self.levels("optimizer")

    @property
    def strategies(self) -> tuple[str, ...]:
        return self.levels("strategy")

    def levels(self, by: str) -> tuple[str, ...]:
        """What is compared of a kind, in the usual order: "model", "optimizer" …"""
        return names.in_order({cell[FOLDERS.index(by)] for cell in self.cells}, by)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """(network, optimizer, strategy) of every run with a row, in usual order."""
        found = {record.cell for record in self.runs if record.rows}
        return tuple(sorted(found, key=lambda cell: [*map(names.place, cell, FOLDERS)]))

    @cached_property
    def _of_cell(self) -> dict[Cell, tuple[Record, ...]]:
        found: dict[Cell, list[Record]] = {}
        for record in sorted(self.runs, key=lambda record: record.unit):
            found.setdefault(record.cell, []).append(record)
        return {cell: tuple(records) for cell, records in found.items()}

    def begun(self, model: str, optimizer: str, strategy: str) -> tuple[Record, ...]:
        """Every run of a cell, trials in order, whatever its state."""
        return self._of_cell.get((model, optimizer, strategy), ())

    def cell(self, model: str, optimizer: str, strategy: str) -> tuple[Record, ...]:
        """The runs of a cell that have a finished cycle, trials in order."""
        return tuple(r for r in self.begun(model, optimizer, strategy) if r.rows)

    def done(self, model: str, optimizer: str, strategy: str) -> tuple[Record, ...]:
        """The runs of a cell that have all of their cycles, trials in order."""
        return tuple(r for r in self.begun(model, optimizer, strategy) if r.done)

    @property
    def dataset(self) -> dict[str, Any] | None:
        """What the runs say of their images; None where not recorded."""
        return next((r.dataset for r in self.runs if r.dataset), None)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes `[K]`; None where not recorded."""
        known = (self.dataset or {}).get("class_names")
        return tuple(known) if known else None

    def class_name(self, index: int) -> str:
        """What a class is called; its number where that was not recorded."""
        known = self.class_names or ()
        return str(known[index]) if index < len(known) else f"class {index}"

    @property
    def data(self) -> str:
        """The name of the dataset."""
        return self.runs[0].config.get("data.name", "unknown images")


def own_settings(record: Record) -> dict[str, Any]:
    """The settings of a run's own optimizer, by dotted name."""
    start = f"optimizers.{record.optimizer}."
    return {n: v for n, v in record.config.items() if n.startswith(start)}


def of_networks(setting: Setting) -> str:
    """Settings of an optimizer that networks have of their own; "": there are none."""
    every = dict.fromkeys(
        name for record in setting.runs for name in own_settings(record)
    )
    found = _values(setting.runs, every)
    return _named({name: v for name, v in found.items() if isinstance(v, dict)})


def _key(values: Any) -> str:
    return json.dumps(values, sort_keys=True, default=str)


def _shared(record: Record) -> dict[str, Any]:
    """What all runs of one setting must share, whatever the optimizer."""
    config = {
        name: value
        for name, value in record.config.items()
        if name not in FREE and not name.startswith("optimizers.")
    }
    return config | {IMAGES: record.about.get(IMAGES)}


def _contested(records: Iterable[Record]) -> list[str]:
    """The settings in which two runs of one network and optimizer differ."""
    found: dict[tuple[str, str], set[str]] = {}
    for record in records:
        for name, value in own_settings(record).items():
            found.setdefault((record.model, name), set()).add(_key(value))
    return sorted({name for (_, name), values in found.items() if len(values) > 1})


def split(runs: Sequence[Record]) -> tuple[Setting, ...]:
    """Sorts runs into settings, the largest first; names each by what differs.

    The first is named by every field in which settings differ, the others by those in
    which they differ from the first. Leaky runs, and those that were never tested, come
    last.
    """
    coarse: dict[str, list[Record]] = {}
    for record in runs:
        coarse.setdefault(_key(_shared(record)), []).append(record)
    groups: dict[str, list[Record]] = {}
    for records in coarse.values():
        contested = _contested(records)
        for record in records:
            own = {name: record.config.get(name) for name in contested}
            groups.setdefault(_key(_shared(record) | own), []).append(record)
    differing = _differing([_shared(records[0]) for records in groups.values()])
    differing += _contested(runs)
    order = sorted(groups.values(), key=_place)
    settings: list[Setting] = []
    for number, records in enumerate(order, 1):
        own = _values(records, differing)
        told = own
        if settings:  # what the first has, too, tells nothing
            first = settings[0].fields
            told = {n: v for n, v in own.items() if _key(v) != _key(first.get(n))}
        settings.append(Setting(number, _named(told), own, tuple(records)))
    return tuple(settings)


def _place(records: Sequence[Record]) -> tuple:
    """Settings that can establish something come first, then the largest."""
    barred = any(record.leaky or record.held_out for record in records)
    return barred, -sum(bool(record.rows) for record in records), -len(records)


def _values(records: Sequence[Record], names_: Iterable[str]) -> dict[str, Any]:
    """Fields in some runs; one of an optimizer may be of each network: a dictionary.

    Fields of an optimizer that none of the runs has are left out.
    """
    found: dict[str, Any] = {}
    for name in names_:
        if not name.startswith("optimizers."):
            found[name] = _shared(records[0]).get(name)
            continue
        used = [r for r in records if r.optimizer == name.split(".")[1]]
        by_model = {record.model: record.config.get(name) for record in used}
        if len({_key(value) for value in by_model.values()}) > 1:
            found[name] = by_model
        elif by_model:
            found[name] = next(iter(by_model.values()))
    return found


def _differing(configs: list[dict[str, Any]]) -> list[str]:
    """Names of the fields that are not the same in all of several configurations."""
    every = dict.fromkeys(name for config in configs for name in config)
    return [n for n in every if len({_key(c.get(n)) for c in configs}) > 1]


def _named(fields: dict[str, Any]) -> str:
    """A setting's name: "width 16, precision bfloat16"."""
    shown = []
    for name, value in fields.items():
        if name == IMAGES:
            value = f"{value[:8]}…" if value else "not recorded"
        if isinstance(value, dict):
            of = (f"{v} ({names.model_name(model)})" for model, v in value.items())
            value = names.listed(list(of))
        value = "none" if value is None else value
        shown.append(f"{names.field_name(name.removeprefix('data.'))} {value}")
    return ", ".join(shown)
