"""All cycles of a study as one table."""

import pandas as pd

from aljax.report.record import FOLDERS
from aljax.report.runs import Study
from aljax.report.settings import FREE

ABOUT = ("workdir", "folder", "setting", *FOLDERS, "seed", "trial", "reset", "state")


def tidy(study: Study) -> pd.DataFrame:
    """One row per cycle of each run.

    Args:
        study: from `runs.read`.

    Returns:
        columns `ABOUT`; every field of a row (lists are arrays, None is not recorded);
        then, by dotted name, the fields of the configuration that differ between runs.
    """
    number = {id(r): s.number for s in study.settings for r in s.runs}
    differing = _differing(study)
    lines = []
    for record in study.runs:
        about = {
            "workdir": str(record.workdir),
            "folder": record.folder,
            "setting": number[id(record)],
            **{name: record.config[name] for name in FOLDERS},
            "seed": record.seed,
            "trial": record.trial,
            "reset": record.config.get("reset"),
            "state": record.state,
        }
        extra = {name: record.config.get(name) for name in differing}
        for row in record.rows:
            lines.append({**about, **row, "leaky": record.leaky, **extra})
    return pd.DataFrame(lines)


def _differing(study: Study) -> list[str]:
    """Fields of the configuration, beside `ABOUT`, that differ between runs."""
    found: dict[str, set[str]] = {}
    for record in study.runs:
        for name, value in record.config.items():
            if name not in ABOUT and name not in FREE:
                found.setdefault(name, set()).add(repr(value))
    return [name for name, values in found.items() if len(values) > 1]
