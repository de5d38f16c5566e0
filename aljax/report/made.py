"""How the runs of a report were made: enough to make them again."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from aljax.report import fairness, names
from aljax.report.record import Record
from aljax.report.runs import Study

_MOST = 6  # values of one fact before the rest is only counted


def facts(study: Study, command: str | None) -> tuple[tuple[str, str], ...]:
    """Pairs of a name and a text: command, commit, versions, device, seeds …

    Args:
        study: whose runs.
        command: that made the report; None: not known.
    """
    runs = study.runs
    found = {
        "Command": command or "not recorded",
        "Work folders": names.listed([str(path) for path in study.workdirs]),
        "Runs": _states(runs),
        "Data": _values(runs, lambda r: r.config.get("data.name")),
        "Images": _values(runs, lambda r: (r.about.get("data_fingerprint") or "")[:16]),
        "Seeds": _values(runs, lambda r: r.seed),
        "Trials": _values(runs, lambda r: r.trial, _MOST * 10),
        "Settings of optimizers": _settings(study),
        "Precision": _values(runs, lambda r: r.config.get("precision")),
        "Weights at each cycle": _values(runs, lambda r: r.config.get("reset")),
        "Commit of aljax": _values(runs, lambda r: r.told(_of("commit"))),
        "Versions": _values(runs, lambda r: r.told(_versions)),
        "Device": _values(runs, lambda r: r.told(_of("device"))),
        "Parallel": _values(runs, lambda r: r.told(_parallel)),
    }
    return tuple(found.items())


def _states(runs: Iterable[Record]) -> str:
    states = [run.state for run in runs]
    return names.listed([f"{states.count(s)} {s}" for s in sorted(set(states))])


def _values(
    runs: Iterable[Record], of: Callable[[Record], Any], most: int = _MOST
) -> str:
    """The values of all runs, each with its count where there are several."""
    counts: dict[Any, int] = {}
    for run in runs:
        value = of(run)
        value = "not recorded" if value in (None, "") else value
        counts[value] = counts.get(value, 0) + 1
    if len(counts) == 1:
        return str(next(iter(counts)))
    order = sorted(counts, key=lambda v: (isinstance(v, str), v))
    said = [f"{v} ({names.counted(counts[v], 'run')})" for v in order[:most]]
    more = len(order) - len(said)
    return ", ".join(said) + (f" and {more} more" if more else "")


def _settings(study: Study) -> str:
    """Which optimizers have the authors' settings, and what the others have instead."""
    lines = []
    for setting in study.settings:
        parts = []
        for text, who in fairness.by_settings(setting.runs).items():
            usual = (
                "not used by the study's authors" if text is None else "the authors'"
            )
            parts.append(f"{who}: {text or usual}")
        lines.append(f"{setting.name}: " * bool(setting.name) + "; ".join(parts))
    more = len(lines) - _MOST
    return ". ".join(lines[:_MOST]) + (f" and {more} more" if more > 0 else "")


def _of(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda about: about.get(name)


def _versions(about: dict[str, Any]) -> str | None:
    versions = about.get("versions")
    if not isinstance(versions, dict):
        return None
    return ", ".join(f"{name} {versions[name]}" for name in sorted(versions))


def _parallel(about: dict[str, Any]) -> str | None:
    executor, processes = about.get("parallel"), about.get("processes")
    if executor is None:
        return None
    return f"{executor}, {processes or 1} process{'es' * ((processes or 1) > 1)}"


def configuration(study: Study) -> tuple[tuple[str, str], ...]:
    """Every field of the configuration and its values, the same in all runs first."""
    fields = sorted({name for run in study.runs for name in run.config})
    lines = []
    for name in fields:
        values = {_text(run.config.get(name)) for run in study.runs}
        if len(values) > _MOST:
            text = f"{len(values)} values"
        else:
            text = " | ".join(sorted(values))
        lines.append((len(values) > 1, name, text))
    return tuple((name, text) for _, name, text in sorted(lines))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
