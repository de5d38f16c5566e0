"""Classes, calibration, cost, and all cycles: what stands behind the other tables."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from aljax.report import names, wording
from aljax.report.costs import MEMORY, SECONDS, common_units, costs, mixed_machines
from aljax.report.purchases import classes_bought, overlap, pool_shares
from aljax.report.record import FOLDERS
from aljax.report.runs import Study
from aljax.report.settings import Setting
from aljax.report.statistics import estimate
from aljax.report.tables.table import Table
from aljax.report.tidy import tidy


def bought(setting: Setting) -> Iterator[Table]:
    """Which classes each strategy bought after the first cycle."""
    found = classes_bought(setting)
    found = found[found.cycle > 1]
    if found.empty:
        return
    sums = found.groupby(["strategy", "class"], sort=False)["images"].sum().unstack(0)
    shares = (sums / sums.sum()).sort_index()
    pool = pool_shares(setting)
    shown = pd.DataFrame({"class": list(map(setting.class_name, shares.index))})
    if pool is not None:
        shown["pool %"] = [wording.number(100 * pool[i]) for i in shares.index]
    for strategy in (s for s in setting.strategies if s in shares):
        column = f"{names.strategy_name(strategy)} %"
        shown[column] = [wording.number(100 * v) for v in shares[strategy]]
    yield Table(
        setting.stem("classes_bought"),
        "Which classes were bought, in percent",
        "All purchases after the first cycle, over all trials, networks and "
        "optimizers, beside the pool's shares. The file has every cycle.",
        "classes",
        found,
        shown,
        setting.name,
    )


def same_images(setting: Setting) -> Iterator[Table]:
    """How far two strategies bought the same images."""
    if len(setting.strategies) < 2:
        return
    found = overlap(setting)
    called = [names.strategy_name(s) for s in found.index]
    values = 100 * found.to_numpy()
    shown = pd.DataFrame(
        [[wording.number(v) for v in row] for row in values], columns=called
    )
    shown.insert(0, "strategy", called)
    yield Table(
        setting.stem("overlap"),
        "How far strategies bought the same images, in percent",
        "Images that both bought over images that either bought (Jaccard index), first "
        "cycle left out, mean over trials and pairs of network and optimizer "
        f"(n ≥ {found.attrs['n']}).",
        "classes",
        found.reset_index(names="strategy"),
        shown,
        setting.name,
    )


def calibration(setting: Setting) -> Iterator[Table]:
    """Expected calibration error at each budget."""
    labels = max((r.labelled for r in setting.runs if r.rows), key=len)
    shown, data = [], []
    for cell in setting.cells:
        runs = setting.done(*cell)
        if not runs:
            continue
        errors = np.array([r.values("calibration_error") for r in runs])
        line = {"runs": names.cell_name(*cell), "n": str(len(runs))}
        for count, column in zip(labels, errors.T, strict=True):
            known = column[~np.isnan(column)]
            found, shown_as = estimate(known), wording.spread(estimate(100 * known))
            line[f"{count:,}"] = shown_as if found.n else wording.UNKNOWN
            data.append(
                dict(zip(FOLDERS, cell, strict=True))
                | {"labeled": int(count), "n": found.n, "mean": found.mean}
                | {"sd": found.sd}
            )
        shown.append(line)
    if not any(line["n"] for line in data):
        return
    yield Table(
        setting.stem("calibration"),
        "Expected calibration error in percent by labels",
        "How far confidence is from accuracy, over 15 equal bins of confidence, on the "
        "test set (Guo et al. 2017); means over trials ± standard deviation.",
        "calibration",
        pd.DataFrame(data),
        pd.DataFrame(shown),
        setting.name,
    )


def spent(setting: Setting) -> Iterator[Table]:
    """Where the time went, and how much memory it took."""
    found, mixed = costs(setting, common_units(setting)), mixed_machines(setting)
    if found.empty:
        return
    shown = []
    for line in found.to_dict("records"):
        cell = [line[name] for name in FOLDERS]
        shown.append(
            {"runs": names.cell_name(*cell), "n": str(line["n"])}
            | {"last accuracy": wording.percent(line["accuracy"])}
            | {
                title: wording.duration(line[field])
                for title, field in zip(_SPENT, SECONDS, strict=True)
            }
            | {"peak memory": wording.memory(*(line[name] for name in MEMORY))}
            | ({} if mixed else {"front": "yes" if line["front"] else ""})
        )
    yield Table(
        setting.stem("cost"),
        "What a run costs",
        "Sums over the cycles of a run, mean over trials, those that all have where "
        "they are enough; peak memory of the process so far, of the device where it "
        "tells, of the host otherwise, the largest of all. "
        + (mixed or "Front: nothing else is both more accurate and cheaper to train."),
        "cost",
        found,
        pd.DataFrame(shown),
        setting.name,
    )


_SPENT = ("training", "compiling", "evaluation", "queries")


def cycles(study: Study) -> Table:
    """Every number of every cycle, as a file."""
    frame = tidy(study)
    plain = [c for c in frame if not frame[c].map(_is_list).any()]
    return Table(
        *("cycles", "All cycles", "One line per cycle of each run.", ""),
        frame[plain],
        pd.DataFrame(),
    )


def _is_list(value: object) -> bool:
    return isinstance(value, (np.ndarray, dict, list))


def runs(study: Study) -> Table:
    """Every run: where it is, how far, and on what it ran."""
    number = {id(r): s.number for s in study.settings for r in s.runs}
    data = pd.DataFrame(
        {
            "workdir": str(record.workdir),
            "folder": record.folder,
            "setting": number[id(record)],
            "seed": record.seed,
            "trial": record.trial,
            "state": record.state,
            "note": record.note,
            "cycles": len(record.rows),
            "aubc": record.aubc if record.done else None,
            "device": record.told(lambda about: about.get("device")),
            "commit": record.told(lambda about: about.get("commit")),
        }
        for record in study.runs
    )
    caption = "One line per run that was begun."
    return Table("runs", "All runs", caption, "", data, pd.DataFrame())


def all_tables(setting: Setting) -> Iterator[Table]:
    """Every table of this file that belongs to one setting."""
    yield from bought(setting)
    yield from same_images(setting)
    yield from calibration(setting)
    yield from spent(setting)
