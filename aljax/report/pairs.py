"""Pairs of network and optimizer: what each reaches under one budget, at what cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from aljax.report import names, sentences, wording
from aljax.report.best import ahead
from aljax.report.costs import mixed_machines
from aljax.report.leaks import bar
from aljax.report.matches import shared
from aljax.report.record import Record, Unit
from aljax.report.sentences import FEW, shown_strategies
from aljax.report.settings import Setting
from aljax.report.statistics import (
    FEWEST,
    Estimate,
    estimate,
    labels_needed,
    paired,
    pareto,
)

_COSTS = ("train", "query")


@dataclass(frozen=True)
class Pair:
    """The finished runs of a network with an optimizer, under the asked strategies."""

    model: str
    optimizer: str
    labelled: np.ndarray  # [budgets] labels
    # By trial, strategies averaged: percent [budgets], and seconds of a run.
    curves: dict[Unit, np.ndarray]
    train: dict[Unit, float]
    query: dict[Unit, float]

    @property
    def name(self) -> str:
        return names.pair_name(self.model, self.optimizer)

    @property
    def accuracy(self) -> dict[Unit, float]:
        """Percent at the last budget."""
        return {unit: float(curve[-1]) for unit, curve in self.curves.items()}

    @property
    def mean(self) -> np.ndarray:
        """The mean curve `[budgets]`, percent."""
        return np.mean(list(self.curves.values()), axis=0)

    @property
    def train_seconds(self) -> float:
        return float(np.mean(list(self.train.values())))

    @property
    def query_seconds(self) -> float:
        return float(np.mean(list(self.query.values())))

    @property
    def reached(self) -> Estimate:
        return estimate(list(self.accuracy.values()))


def compared_pairs(setting: Setting) -> tuple[Pair, ...]:
    """Pairs that finished a trial under all shared strategies, the most accurate first.

    Of the trials those count that all of these pairs finished, if they are enough for a
    test.
    """
    strategies, found = shared(setting), []
    for pair in dict.fromkeys(cell[:2] for cell in setting.cells):
        runs = [setting.done(*pair, strategy) for strategy in strategies]
        curves = _by_trial(runs, lambda record: 100 * record.accuracies)
        if curves:
            seconds = [_by_trial(runs, _sum_of(f"{n}_seconds")) for n in _COSTS]
            found.append(Pair(*pair, runs[0][0].labelled, curves, *seconds))
    return tuple(sorted(_of_common(found), key=lambda pair: -pair.reached.mean))


def _of_common(pairs: Sequence[Pair]) -> list[Pair]:
    """The same pairs, with the trials that all of them have where these are enough."""
    common = set.intersection(*(set(pair.curves) for pair in pairs)) if pairs else set()
    if len(common) < FEWEST:
        return list(pairs)

    def kept(values: dict[Unit, Any]) -> dict[Unit, Any]:
        return {unit: values[unit] for unit in sorted(common)}

    return [
        replace(p, curves=kept(p.curves), train=kept(p.train), query=kept(p.query))
        for p in pairs
    ]


def _by_trial(
    runs: Sequence[Sequence[Record]], of: Callable[[Record], Any]
) -> dict[Unit, Any]:
    """The mean over strategies, for each trial that all of them finished."""
    values = [{record.unit: of(record) for record in some} for some in runs]
    units = set.intersection(*map(set, values))
    return {u: np.mean([v[u] for v in values], axis=0) for u in sorted(units)}


def _sum_of(field: str) -> Callable[[Record], float]:
    return lambda record: record.values(field).sum()


def told(setting: Setting, pairs: Sequence[Pair]) -> tuple[str, list[str], str | None]:
    """The sentence on pairs, its details, and the verdict on the best being it.

    Args:
        setting: whose pairs.
        pairs: from `compared_pairs`, at least one.
    """
    best = pairs[0]
    labels = max(record.labelled[-1] for record in setting.runs if record.done)
    strategies = shared(setting)
    under = shown_strategies(strategies)
    few = shown_strategies(strategies, FEW)
    mixed = mixed_machines(setting)
    cost = "" if mixed else f", for {_time(best)} of training a run"
    lead = (
        f"with {labels:,} labels, under {few}, {best.name} reaches {_accuracy(best)}"
        f"{cost}"
    )
    seconds = "Seconds are sums over the cycles of a run, without compiling."
    details = [
        f"Under {under}. {mixed or seconds}",
        *_without(setting, pairs, under),
        *_trials(setting, pairs, under),
        *sentences.own_of_networks(setting),
    ]
    if len(pairs) == 1:
        return wording.sentence(lead), details + _lines(pairs, mixed), None
    said, verdict = _verdict(setting, pairs)
    lead = (
        f"of {len(pairs)} pairs, {best.name} reaches the most with {labels:,} labels "
        f"under {few}, {_accuracy(best)}{cost}; {said}"
    )
    if mixed:
        return wording.sentence(lead), details + _lines(pairs, mixed), verdict
    cheapest = _cheapest(pairs)
    if cheapest is None:
        lead += "; none is the cheapest in every trial"
    elif cheapest is best:
        lead += "; it is also the cheapest"
    else:
        lead += (
            f"; the cheapest, {cheapest.name}, reaches {_accuracy(cheapest)} for "
            f"{_time(cheapest)}"
        )
    front = pareto([p.train_seconds for p in pairs], [p.reached.mean for p in pairs])
    named = [pair.name for pair, on in zip(pairs, front, strict=True) if on]
    details.append(
        "No pair is both more accurate and cheaper to train than "
        f"{names.listed(named)}."
    )
    return wording.sentence(lead), details + _lines(pairs, mixed), verdict


def _cheapest(pairs: Sequence[Pair]) -> Pair | None:
    """The pair that trained for the shortest time in every trial; None: there is none.

    What seconds differ by from trial to trial is the machine's noise.
    """
    least = min(pairs, key=lambda pair: pair.train_seconds)
    others = [pair for pair in pairs if pair is not least]
    for other in others:
        both = least.train.keys() & other.train.keys()
        if not both or any(least.train[u] > other.train[u] for u in both):
            return None
    return least


def _without(setting: Setting, pairs: Sequence[Pair], under: str) -> list[str]:
    """Which pairs cannot be compared with the others."""
    shown = {(pair.model, pair.optimizer) for pair in pairs}
    others = dict.fromkeys(cell[:2] for cell in setting.cells if cell[:2] not in shown)
    named = [names.pair_name(*other) for other in others]
    lack = "for lack of a finished trial under"
    return [f"Left out, {lack} {under}: {names.listed(named)}."] if named else []


def _trials(setting: Setting, pairs: Sequence[Pair], under: str) -> list[str]:
    """Which trials count, if it is not all that were finished."""
    counted = [set(pair.curves) for pair in pairs]
    if any(units != counted[0] for units in counted):
        return ["Pairs finished different trials, so their means differ by luck too."]
    finished = {
        record.unit
        for record in setting.runs
        if record.done and record.strategy in shared(setting)
    }
    if finished == counted[0]:
        return []
    seeds = len({seed for seed, _ in finished}) > 1
    trials = [
        f"{trial} of seed {seed}" if seeds else str(trial)
        for seed, trial in sorted(counted[0])
    ]
    return [
        f"Only trials count that all pairs finished, under {under}: "
        f"{names.listed(trials)}."
    ]


def _verdict(setting: Setting, pairs: Sequence[Pair]) -> tuple[str, str]:
    """The best pair against the second, and whether it is the best of all."""
    best, second = pairs[:2]
    units = [unit for unit in best.accuracy if unit in second.accuracy]
    if not units:
        said = f"the next, {second.name}, shares no trial with it"
        return said, wording.verdict([False])
    result = paired(*([pair.accuracy[u] for u in units] for pair in (best, second)))
    beaten = ahead([pair.accuracy for pair in pairs], 0)
    barred = bar(setting)
    if all(beaten) and not barred:
        verdict = "is established"
    elif barred:
        verdict = f"is not established, since {barred}"
    else:
        trials = names.counted(result.n, "trial")
        verdict = f"is not established with {trials}"
        if any(beaten):
            some = f"{sum(beaten)} of {len(beaten)}"
            verdict = f"is established against {some} alone, with {trials}"
    said = (
        f"the next, {second.name}, is {wording.difference(result)} behind; that "
        f"{best.name} is the best {verdict}"
    )
    return said, wording.verdict([won and not barred for won in beaten])


def _accuracy(pair: Pair) -> str:
    found = pair.reached
    return f"{wording.spread(found)} % (n = {found.n})"


def _time(pair: Pair) -> str:
    return wording.duration(pair.train_seconds)


def _lines(pairs: Sequence[Pair], mixed: str) -> list[str]:
    """A sentence per pair: accuracy, labels needed for what all reach, and cost.

    Without the cost where `mixed` says that it is not compared.
    """
    # The highest multiple of five percent that every pair reaches on its way.
    target = 5 * int(min(pair.mean.max() for pair in pairs) // 5)
    lines = []
    for pair in pairs:
        parts = [_accuracy(pair)]
        if target > max(other.mean[0] for other in pairs):
            needed = labels_needed(pair.labelled, pair.mean, target)
            parts.append(f"{needed:,.0f} labels for {target} %")
        if not mixed:
            parts.append(f"training {_time(pair)}")
            parts.append(f"queries {wording.duration(pair.query_seconds)}")
        lines.append(f"{pair.name}: {', '.join(parts)}.")
    return lines
