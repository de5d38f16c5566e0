"""Comparisons as tables: families with Holm, differences by budget, penalties."""

import math
from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from aljax.report import wording
from aljax.report.budgets import budget_differences, penalties
from aljax.report.comparisons import (
    Comparison,
    against_random,
    between_settings,
    family,
)
from aljax.report.matches import BASELINE, NAMES, shared
from aljax.report.names import pair_name, strategy_name
from aljax.report.runs import Study
from aljax.report.sentences import narrower, under_which
from aljax.report.settings import Setting
from aljax.report.statistics import FEWEST, FEWEST_DRAWN, Paired
from aljax.report.tables.table import Table

TITLES = {
    "optimizer": ("optimizers", "Optimizers compared"),
    "model": ("networks", "Networks compared"),
    "strategy": ("strategies", "Strategies that choose, compared"),
}
METHOD = (
    "Area under accuracy over labels (AUBC), first minus second, in points; paired by "
    "trial, t intervals and tests, Holm over the whole table. Lines that are set in "
    "repeat a comparison in one part of the runs; they are not tested. Smallest to "
    "show: the difference that this spread and number of trials could just have shown."
)


def families(setting: Setting) -> Iterator[Table]:
    """Every two optimizers, networks and strategies, each with its parts."""
    for by, (name, title) in TITLES.items():
        found = family(setting, by)
        if found:
            yield _compared(found, name, title, setting)
        if by == "strategy" or BASELINE in shared(setting):
            continue
        if found := family(setting, by, (BASELINE,)):
            title = f"{title}, under random"
            yield _compared(found, name, title, setting, "_under_random")


def random(setting: Setting) -> Iterator[Table]:
    """Strategies against random: areas, labels saved, and accuracy at each budget."""
    found = against_random(setting)
    if not found:
        return
    yield _compared(found, "against_random", "Strategies against random", setting)
    yield _by_budget(setting, [comparison.first for comparison in found])


def between(study: Study) -> Iterator[Table]:
    """Every other setting against the first, each with its parts."""
    found = between_settings(study.settings)
    if found:
        yield _compared(found, "settings", "Settings against the first")


def _compared(
    found: Sequence[Comparison],
    name: str,
    title: str,
    setting: Setting | None = None,
    suffix: str = "",
) -> Table:
    """One table, of no setting where it compares several; a suffix of its file."""
    ratios = name == "against_random"
    lines, shown = [], []
    for comparison in found:
        lines.append(_numbers(comparison, "all", comparison.result))
        shown.append(_words(comparison, ratios))
        parts = comparison.within if len(comparison.within) > 1 else {}
        for part, result in parts.items():
            lines.append(_numbers(comparison, part, result))
            shown.append(_part_words(part, result, ratios))
        if ratios:
            lines[-1 - len(parts)] |= _ratio(comparison)
    caption = METHOD
    if name in ("optimizers", "networks"):
        alone = "".join(f" {text}" for text in narrower(found))
        caption = f"Under {under_which(found)}.{alone} {METHOD}"
    if ratios:
        caption += (
            " Labels of random: how many times as many it needs for the highest "
            "accuracy that both reach (95 % bootstrap interval, from "
            f"{FEWEST_DRAWN} trials on)."
        )
    data, words = pd.DataFrame(lines), pd.DataFrame(shown)
    file = f"{name}{suffix}"
    shown_of = (setting.stem(file), setting.name) if setting else (file, "")
    return Table(shown_of[0], title, caption, name, data, words, shown_of[1])


def _numbers(comparison: Comparison, part: str, result: Paired) -> dict:
    whole = part == "all"
    return {
        "first": comparison.first,
        "second": comparison.second,
        "part": part,
        "n": result.n,
        **{name: getattr(result, name) for name in ("mean", "sd", "low", "high")},
        "p": result.p if whole else None,
        "p_holm": comparison.p_holm if whole else None,
        "detectable": result.detectable,
        "established": comparison.established if whole else None,
    }


def _ratio(comparison: Comparison) -> dict:
    found = comparison.label_ratio
    return {
        "label_ratio": found.value,
        "label_ratio_low": found.low,
        "label_ratio_high": found.high,
    }


def _words(comparison: Comparison, ratios: bool) -> dict[str, str]:
    found, (first, second) = comparison.result, comparison.names
    line = {"comparison": f"{first} − {second}", **_difference(found)}
    line["p (Holm)"] = _p(comparison.p_holm)
    if ratios:
        line["labels of random"] = wording.times(comparison.label_ratio)
    verdict = "established" if comparison.established else "not established"
    return line | {"verdict": verdict}


def _part_words(part: str, result: Paired, ratios: bool) -> dict[str, str]:
    line = {"comparison": f"\u2003{part}", **_difference(result), "p (Holm)": ""}
    return line | ({"labels of random": ""} if ratios else {}) | {"verdict": ""}


def _difference(found: Paired) -> dict[str, str]:
    digits = wording.places(found.high - found.low)
    bounds = wording.MISSING
    if found.n >= FEWEST:
        bounds = wording.interval(found.low, found.high, digits)
    return {
        "points": wording.number(found.mean, digits),
        "95 % interval": bounds,
        "n": str(found.n),
        "smallest to show": wording.number(found.detectable, digits),
    }


def _p(p: float | None) -> str:
    return (
        "no test" if p is None else wording.p_value(p).removeprefix("p ").lstrip("= ")
    )


def _by_budget(setting: Setting, strategies: Iterable[str]) -> Table:
    """Accuracy minus random's at each budget."""
    parts, shown = [], []
    for strategy in strategies:
        found = budget_differences(setting, "strategy", strategy, BASELINE)
        parts.append(found.assign(strategy=strategy))
        pairs = found[["model", "optimizer"]].drop_duplicates().values.tolist()
        for model, optimizer in pairs if len(pairs) > 2 else pairs[:1]:
            some = found[(found.model == model) & (found.optimizer == optimizer)]
            whole = model == "all"
            name = strategy_name(strategy) if whole else pair_name(model, optimizer)
            line = {
                "strategy": name if whole else f"\u2003{name}",
                "n": str(some.n.max()),
            }
            for at in some.itertuples():
                line[f"{at.labeled:,}"] = _at_budget(at)
            shown.append(line)
    return Table(
        setting.stem("against_random_by_budget"),
        "Accuracy minus random's by labels, in points",
        "Paired by trial; pairs of network and optimizer of one trial are averaged "
        "first, and set in alone. In brackets the 95 % t interval at each budget, "
        "which decides nothing alone: each budget is a chance to be wrong.",
        "against_random",
        pd.concat(parts, ignore_index=True),
        pd.DataFrame(shown).fillna(wording.MISSING),
        setting.name,
    )


def _at_budget(at) -> str:
    digits = wording.places(at.high - at.low)
    if math.isnan(at.low) or at.low == at.high:
        return wording.number(at.mean, digits)
    bounds = wording.interval(at.low, at.high, digits)
    return f"{wording.number(at.mean, digits)} ({bounds})"


def penalty(setting: Setting) -> Iterator[Table]:
    """The pairwise penalty matrix of strategies."""
    matrix = penalties(setting)
    if len(matrix) < 2 or not matrix.attrs["pairs"]:
        return
    names = [NAMES["strategy"](strategy) for strategy in matrix.index]
    shown = pd.DataFrame(
        [[wording.number(value, 2) for value in row] for row in matrix.to_numpy()],
        columns=[f"beats {name}" for name in names],
    )
    shown.insert(0, "strategy", names)
    beaten = matrix.to_numpy().sum(0) / (len(matrix) - 1)
    means = [wording.number(value, 2) for value in beaten]
    shown.loc[len(shown)] = ["beaten by another (mean)", *means]
    data = matrix.reset_index(names="strategy")
    most = matrix.attrs["pairs"]
    yield Table(
        setting.stem("penalties"),
        "Pairwise penalty matrix",
        "Ash et al. 2020: a row gets 1 / budgets for each budget at which a paired t "
        f"test by trial (p < 0.05) finds it above the column, summed over {most} "
        f"pair{'s' * (most != 1)} of network and optimizer: at most {most}. It counts "
        "wins over budgets and is no test.",
        "strategies",
        data,
        shown,
        setting.name,
    )


def all_tables(setting: Setting) -> Iterator[Table]:
    """Every table of this file."""
    yield from random(setting)
    yield from families(setting)
    yield from penalty(setting)
