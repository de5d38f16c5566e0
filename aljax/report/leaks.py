"""Signs that labels leaked, that a trial broke, that runs are copies or no tests."""

from collections.abc import Iterator

import numpy as np

from aljax.report import names
from aljax.report.doubt import Doubt, named
from aljax.report.names import counted
from aljax.report.record import Record
from aljax.report.settings import Setting
from aljax.report.wording import percent

CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck".split()
# CIFAR-10 from scratch: 46 to 51 % with 1,000 labels is usual (eval-al, WACV 2023;
# Yoo & Kweon, CVPR 2019); nothing published without other data passes 60 %.
SUSPECT_LABELS, SUSPECT_ACCURACY = 1000, 0.60
# The authors' published results jump by 30 to 44 points after trial 1, where weights
# were carried over; trials of one recipe from scratch stay within a few points.
JUMP = 0.20
COLLAPSE = 0.5  # of what the run, or its other trials, had learned above chance
LEARNED = 0.15  # above chance, so that noise around chance is no collapse


def doubts(setting: Setting) -> Iterator[Doubt]:
    """Everything in this file that the runs of a setting give reason for."""
    yield from _leaky(setting)
    yield from _held_out(setting)
    yield from _too_good(setting)
    for cell in setting.cells:
        runs = setting.cell(*cell)
        name = names.cell_name(*cell)
        yield from _jump(name, runs)
        yield from _collapse(name, runs)
        yield from _copies(name, runs)
    yield from _starts(setting)


def bar(setting: Setting) -> str:
    """Why nothing can be established by a setting's runs; "": nothing is in the way."""
    if setting.leaky:
        return "the runs are leaky"
    if setting.held_out:
        return "the accuracies are of labelled images that were held out"
    starts = (_start(setting.cell(*cell)) for cell in setting.cells)
    if any(_too_good(setting)) or any(start is not None for start in starts):
        return "labels seem to have leaked"
    return ""


def _start(runs: tuple[Record, ...]) -> list[float] | None:
    """First accuracies of trials, if the later ones begin far above the first."""
    first, *later = (record.accuracies[0] for record in runs)
    return [first, *later] if later and min(later) - first > JUMP else None


def _leaky(setting: Setting) -> Iterator[Doubt]:
    runs = [record for record in setting.runs if record.leaky]
    if runs:
        yield Doubt(
            "leaky",
            f"{counted(len(runs), 'run')} of {len(setting.runs)} are leaky: weights, "
            "and what they know of labels, pass from one trial to the next "
            "(reset=never). Their numbers say nothing about active learning, and "
            f"nothing is established by them ({named(runs)}).",
        )


def _held_out(setting: Setting) -> Iterator[Doubt]:
    runs = [record for record in setting.runs if record.held_out]
    if runs:
        yield Doubt(
            "validation",
            f"{counted(len(runs), 'run')} of {len(setting.runs)} "
            f"{'was' if len(runs) == 1 else 'were'} evaluated on labelled images that "
            "were held out of training, and never on the test set. What is called test "
            "accuracy here is theirs, to choose settings by: nothing is established by "
            f"it ({named(runs)}).",
        )


def _is_cifar10(record: Record) -> bool:
    if record.config.get("data.name") == "cifar10":
        return True
    return sorted((record.dataset or {}).get("class_names", ())) == CIFAR10


def _too_good(setting: Setting) -> Iterator[Doubt]:
    found = {}
    for record in setting.runs:
        for row in record.rows if _is_cifar10(record) else ():
            good = row["test_accuracy"] > SUSPECT_ACCURACY
            if row["labeled"] <= SUSPECT_LABELS and good:
                found[record] = max(found.get(record, 0.0), row["test_accuracy"])
    if found:
        yield Doubt(
            "too good",
            f"{counted(len(found), 'run')} of CIFAR-10 "
            f"{'reaches' if len(found) == 1 else 'reach'} up to "
            f"{percent(max(found.values()))} with {SUSPECT_LABELS:,} labels or fewer; "
            "from scratch 46 to 51 % is usual, and more than 60 % means that labels "
            f"leak ({named(list(found))}).",
        )


def _jump(name: str, runs: tuple[Record, ...]) -> Iterator[Doubt]:
    """The first cycle of trials that should start alike."""
    values = [record.accuracies[0] for record in runs]
    if max(values) - min(values) <= JUMP:
        return
    if _start(runs):
        first, *later = values
        others = percent(min(later))
        if percent(max(later)) != others:
            others = f"{100 * min(later):.1f} to {percent(max(later))}"
        shown = (
            f"trial {runs[0].trial} begins at {percent(first)}, later ones at {others}"
        )
        why = (
            "later trials seem to begin with what earlier ones have learned, as in the "
            "results that the study's authors published"
        )
    else:
        shown = (
            f"trials begin between {percent(min(values))} and {percent(max(values))}"
        )
        why = "either weights were carried over or a trial is broken"
    yield Doubt("jump", f"{name}: {shown} with the same number of labels; {why}.")


def _collapse(name: str, runs: tuple[Record, ...]) -> Iterator[Doubt]:
    last = {record: record.accuracies[-1] for record in runs if record.done}
    for record in runs:
        curve, chance = record.accuracies, _chance(record)
        best = np.maximum.accumulate(curve)
        fallen = np.flatnonzero(_lost(curve, best, chance))
        others = [value for other, value in last.items() if other is not record]
        usual = float(np.median(others)) if len(others) > 1 else chance
        shown = ""
        if fallen.size:
            cycle = int(fallen[0])
            shown = (
                f"falls from {percent(best[cycle])} to {percent(curve[cycle])} in "
                f"cycle {cycle + 1}"
            )
        elif record in last and _lost(last[record], usual, chance):
            shown = (
                f"ends at {percent(last[record])}, its other trials at "
                f"{percent(usual)} (median)"
            )
        if shown:
            yield Doubt(
                "collapsed",
                f"{name}, trial {record.trial} {shown}: its training seems to have "
                "collapsed. It counts as it is; look at it before you believe a mean.",
            )


def _chance(record: Record) -> float:
    """The accuracy of guessing; 0 where the number of classes is not recorded."""
    classes = record.rows[0]["class_accuracy"]
    return 0.0 if classes is None else 1 / len(classes)


def _lost(
    accuracy: np.ndarray | float, reached: np.ndarray | float, chance: float
) -> np.ndarray | bool:
    """Whether most of what had been learned is gone."""
    learned = reached - chance
    return (learned > LEARNED) & (accuracy - chance < COLLAPSE * learned)


def _copies(name: str, runs: tuple[Record, ...]) -> Iterator[Doubt]:
    seen: dict[tuple, Record] = {}
    for record in runs:
        first = record.rows[0]["queried"]
        if first is None:
            continue
        other = seen.setdefault((first.tobytes(), record.accuracies.tobytes()), record)
        if other is not record:
            yield Doubt(
                "copies",
                f"{name}: trial {record.trial} ({record.path}) has the same images and "
                f"accuracies as trial {other.trial} ({other.path}): a copy counts as a "
                "trial of its own and makes spreads too small.",
            )


def _starts(setting: Setting) -> Iterator[Doubt]:
    """First cycles of one pair and trial, which all strategies share."""
    starts: dict[tuple, list[Record]] = {}
    for record in setting.runs:
        alike = record.config.get("initial_query") == "random" and not record.leaky
        if record.rows and alike:
            starts.setdefault((record.pair, record.unit), []).append(record)
    images, accuracies, compared = [], [], 0
    for runs in starts.values():
        bought = {_set(record) for record in runs} - {None}
        if len(bought) > 1:
            images.append(runs)
            continue
        # A module that only some strategies train changes what a cycle learns, and so
        # does dropout.
        if runs[0].config.get("loss_prediction.train") == "needed":
            continue
        plain = [record for record in runs if not record.about.get("dropout")]
        compared += 1
        if len({record.accuracies[0] for record in plain}) > 1:
            accuracies.append(plain)
    if images:
        yield Doubt(
            "first cycles",
            "Strategies of one pair and trial begin with different images in "
            f"{len(images)} of {len(starts)} cases, so their differences are no pairs "
            f"({named([r for runs in images for r in runs])}).",
        )
    if accuracies:
        yield Doubt("first cycles", _apart(accuracies, compared))


def _set(record: Record) -> bytes | None:
    queried = record.rows[0]["queried"]
    return None if queried is None else np.sort(queried).tobytes()


def _apart(cases: list[list[Record]], count: int) -> str:
    gaps = [np.ptp([record.accuracies[0] for record in runs]) for runs in cases]
    widest = cases[int(np.argmax(gaps))]
    shown = ", ".join(
        f"{names.strategy_name(r.strategy)} {percent(r.accuracies[0], 2)}"
        for r in widest
    )
    return (
        "Strategies of one pair and trial share images and weights in their first "
        f"cycle, yet its accuracies differ in {len(cases)} of {count} cases, most in "
        f"{names.pair_name(*widest[0].pair)}, trial {widest[0].trial}: {shown}. Other "
        "software, another device or arithmetic that does not repeat itself can do "
        "that; so can a mistake."
    )
