"""Whether what is compared differs in one thing only, and is all there."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from aljax.report import names
from aljax.report.doubt import SHOWN, Doubt, named
from aljax.report.names import counted, listed
from aljax.report.record import Record
from aljax.report.runs import Study
from aljax.report.settings import IMAGES, Setting, own_settings
from aljax.report.statistics import FEWEST

# What the study's authors ran (`configs/cifar10_report.py`).
RECIPES: dict[str, dict[str, Any]] = {
    "sgd": {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 5e-4},
    "adam": {"learning_rate": 1e-4, "weight_decay": 1e-4},
    "adamw": {"learning_rate": 1e-4, "weight_decay": 5e-4},
    "rmsprop": {
        **{"learning_rate": 1e-4, "decay": 0.99, "momentum": 0.9},
        "weight_decay": 1e-4,
    },
}


def doubts(setting: Setting) -> Iterator[Doubt]:
    """Everything amiss inside one setting."""
    yield from _few(setting)
    yield from _unequal(setting)
    yield from _mixed(setting)
    yield from _tuned(setting)


def unfinished(study: Study) -> Iterator[Doubt]:
    """Runs that failed, are under way, wait or were never begun."""
    total = len(study.runs) + len(study.planned)
    failed = [record for record in study.runs if record.state == "failed"]
    if failed:
        reasons = "; ".join(f"{r.folder}: {r.note.rstrip('.')}" for r in failed[:SHOWN])
        more = f"; and {len(failed) - SHOWN} more" if len(failed) > SHOWN else ""
        yield Doubt(
            "failed",
            f"{len(failed)} of {total} runs failed, and their trials are left out of "
            f"comparisons ({reasons}{more}).",
        )
    parts = []
    for state, shown in (("running", "running"), ("waiting", "waiting to go on")):
        if runs := [record for record in study.runs if record.state == state]:
            parts.append(f"{len(runs)} {shown} ({named(runs)})")
    if study.planned:
        folders = study.planned
        more = ", …" if len(folders) > SHOWN else ""
        parts.append(f"{len(folders)} never begun ({', '.join(folders[:SHOWN])}{more})")
    if parts:
        yield Doubt(
            "unfinished",
            f"Of {total} runs, {listed(parts)}: only finished ones are compared, and "
            "what is said here may change.",
        )


def _few(setting: Setting) -> Iterator[Doubt]:
    counts = {cell: len(setting.done(*cell)) for cell in setting.cells}
    few = [cell for cell, n in counts.items() if 0 < n < FEWEST]
    if few and len(few) == len([n for n in counts.values() if n]):
        most = max(counts.values())
        yield Doubt(
            "few trials",
            f"No more than {counted(most, 'trial')} of anything "
            f"{'is' if most == 1 else 'are'} finished; "
            f"intervals and tests take {FEWEST}, and the field asks for five.",
        )
    elif few:
        shown = "; ".join(names.cell_name(*cell) for cell in few[:SHOWN])
        yield Doubt(
            "few trials",
            f"{counted(len(few), 'cell')} of {len(counts)} with fewer than {FEWEST} "
            f"finished trials, too few for an interval ({shown}).",
        )


def _unequal(setting: Setting) -> Iterator[Doubt]:
    units = {
        cell: frozenset(record.unit for record in setting.done(*cell))
        for cell in setting.cells
    }
    if len(set(units.values())) < 2:
        return
    every = frozenset().union(*units.values())
    short = sorted((cell for cell in units if units[cell] != every), key=str)
    shown = "; ".join(
        f"{names.cell_name(*cell)} has {len(units[cell])}" for cell in short[:SHOWN]
    )
    yield Doubt(
        "unequal trials",
        f"Trials are unequal: of {counted(len(every), 'trial')}, {shown}"
        + f"; {len(short) - SHOWN} more lack some" * (len(short) > SHOWN)
        + ". A comparison uses only trials that all of its runs finished.",
    )


def _mixed(setting: Setting) -> Iterator[Doubt]:
    """Software and devices, which should not differ inside a comparison."""
    versions = sorted({v for r in setting.runs for v in r.about.get("versions", {})})
    looks: dict[str, Callable[[dict], Any]] = {
        package: lambda about, p=package: about.get("versions", {}).get(p)
        for package in versions
    }
    looks["commit"] = lambda about: about.get("commit")
    software = list(_differences(setting, looks))
    if software:
        yield Doubt(
            "software",
            f"Software differs inside one comparison: {'; '.join(software)}.",
        )
    looks = {
        name: lambda about, n=name: about.get(n)
        for name in ("device", "parallel", "processes", "xla_flags")
    }
    devices = list(_differences(setting, looks))
    if devices:
        yield Doubt(
            "device",
            f"Devices differ inside one comparison: {'; '.join(devices)}. Their "
            "seconds say little of each other, and their accuracies need not repeat.",
        )


def _differences(
    setting: Setting, looks: dict[str, Callable[[dict], Any]]
) -> Iterator[str]:
    for name, look in looks.items():
        counts = Counter(_shown(record.told(look)) for record in setting.runs)
        if len(counts) > 1:
            values = ", ".join(
                f"{value} ({counted(number, 'run')})"
                for value, number in sorted(counts.items())
            )
            yield f"{name} {values}"


def _shown(value: Any) -> str:
    return "not recorded" if value in (None, "") else str(value)


def tuned(record: Record) -> str | None:
    """What an optimizer has instead of the authors' settings.

    Returns:
        "learning rate 0.05 instead of 0.1"; "" where it has theirs, None where they did
        not use it.
    """
    if record.optimizer not in RECIPES:
        return None
    own = own_settings(record)
    found = []
    for name, usual in RECIPES[record.optimizer].items():
        value = own.get(f"optimizers.{record.optimizer}.{name}", usual)
        if isinstance(value, (int, float)) and value != usual:
            found.append(f"{name.replace('_', ' ')} {value:g} instead of {usual:g}")
    return ", ".join(found)


def by_settings(runs: Iterable[Record]) -> dict[str | None, str]:
    """What `tuned` says of runs, and of which optimizers and networks it says so."""
    every: dict[str, dict[str, str | None]] = {}
    for record in runs:
        every.setdefault(record.optimizer, {})[record.model] = tuned(record)
    found: dict[str | None, list[str]] = {}
    for optimizer in names.in_order(set(every), "optimizer"):
        said, title = every[optimizer], names.optimizer_name(optimizer)
        alike = len(set(said.values())) == 1
        for model in names.in_order(set(said), "model")[: 1 if alike else None]:
            shown = title if alike else names.pair_name(model, optimizer)
            found.setdefault(said[model], []).append(shown)
    return {text: listed(shown) for text, shown in found.items()}


def _tuned(setting: Setting) -> Iterator[Doubt]:
    """Optimizers off their recipe, where others are on theirs."""
    found = by_settings(setting.runs)
    off = [
        f"{who} {'have' if ' and ' in who else 'has'} {text}"
        for text, who in found.items()
        if text
    ]
    on = found.get("")
    if off and on:
        yield Doubt(
            "tuned",
            f"{'; '.join(off)}, while {on} {'are' if ' and ' in on else 'is'} "
            "as in the authors' recipe: if one side was tuned and the other was not, "
            "their difference may be that.",
        )


def settings(study: Study) -> Iterator[Doubt]:
    """Fields that split the runs without having been swept on purpose.

    And software and devices, if it is settings that they differ between.
    """
    if len(study.settings) > 1:
        yield from _mixed(Setting(0, "", {}, study.runs))
    swept = {"data.name"}
    for experiment in study.experiments.values():
        for grid in experiment.get("grids", []):
            swept |= {name for name, values in grid.items() if len(values) > 1}
    fields = study.settings[0].fields
    names_differ = "data.name" in fields
    found = [
        name
        for name in fields
        if name not in swept and not (name == IMAGES and names_differ)
    ]
    if found:
        parts = [names.field_name(name) for name in found]
        described = "; ".join(setting.name for setting in study.settings[:SHOWN])
        yield Doubt(
            "settings",
            f"Runs differ in {listed(parts)} and are told in "
            f"{counted(len(study.settings), 'setting')} that are never mixed "
            f"({described}{'; …' * (len(study.settings) > SHOWN)}).",
        )
