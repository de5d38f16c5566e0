"""The answers: one sentence per question, its effect first, and what it rests on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from aljax.report import comparisons, sentences, wording
from aljax.report.comparisons import BASELINE, NAMES, Comparison
from aljax.report.names import listed
from aljax.report.pairs import compared_pairs, told
from aljax.report.runs import Study
from aljax.report.settings import Setting

AREA = "accuracy averaged over the budget (AUBC)"
_NOT_ASKED = "Not asked: "
EXAMPLES = {
    "optimizer": "{'optimizer': ('sgd', 'adamw')}",
    "model": "{'model': ('resnet18', 'resnet34')}",
    "strategy": "{'strategy': ('random', 'entropy')}",
}


@dataclass(frozen=True)
class Answer:
    """What the runs of one setting say to one question."""

    question: str  # Q1 … Q4
    title: str
    setting: str  # its name; "": the only one
    sentence: str
    details: tuple[str, ...]  # a sentence each
    # Whether the sentence says of anything that it is; None: nothing was compared.
    established: bool | None


def answers(study: Study) -> tuple[Answer, ...]:
    """Q1 optimizers, Q2 networks, Q3 cost, Q4 strategies; setting by setting.

    Questions that the runs of a setting cannot be asked come after the others.
    """
    found = []
    for setting in study.settings:
        if setting.cells:
            others = [s for s in study.settings if s is not setting]
            four = [
                _levels(setting, others, "optimizer", "Q1", "Which optimizer?"),
                _levels(setting, others, "model", "Q2", "Which network?"),
                _cost(setting),
                _strategies(setting, others),
            ]
            found += sorted(four, key=lambda a: a.sentence.startswith(_NOT_ASKED))
    return tuple(found)


def _levels(
    setting: Setting, others: Sequence[Setting], by: str, question: str, title: str
) -> Answer:
    """Q1 and Q2: which level leads, and whether that is established."""
    levels = comparisons.levels(setting, by)
    if len(levels) < 2:
        return _unasked(setting, others, by, question, title)
    family = comparisons.family(setting, by)
    if not family:
        return _unfinished(setting, by, question, title)
    leads = _leading(family)
    area = np.mean([c.match.aubc[0].mean() for c in leads])
    sentence = (
        f"{NAMES[by](leads[0].first)} has the highest {AREA}, {wording.number(area)} "
        f"%: {sentences.verdicts(leads)} ({sentences.basis(family)})."
    )
    averaged = sentences.averaged(by, family)
    under = sentences.shown_strategies(comparisons.questioned(setting))
    details = [
        f"Compared under {under}"
        + f"; {averaged} of a trial are averaged first" * bool(averaged)
        + "."
    ]
    details += [sentences.pair(c) for c in family]
    shown = [*leads, *(c for c in family if c.interactions() and not _among(c, leads))]
    details += [text for c in shown for text in sentences.parts(c)]
    details += sentences.left_out(family) + sentences.unpaired(family, levels, by)
    return _answer(setting, question, title, sentence, details, leads)


def _leading(family: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons of the level that is furthest ahead of the others, from its side.

    The first is with the one that comes closest.
    """
    both = [*family, *(c.turned() for c in family)]
    gains: dict[str, list[float]] = {}
    for comparison in both:
        gains.setdefault(comparison.first, []).append(comparison.result.mean)
    leader = max(gains, key=lambda level: np.mean(gains[level]))
    leads = [c for c in both if c.first == leader]
    return sorted(leads, key=lambda c: c.result.mean)


def _among(comparison: Comparison, others: Sequence[Comparison]) -> bool:
    sides = {comparison.first, comparison.second}
    return any(sides == {other.first, other.second} for other in others)


def _strategies(setting: Setting, others: Sequence[Setting]) -> Answer:
    """Q4: whether strategies beat random, and by how many labels."""
    question, title = "Q4", "Does choosing pay?"
    if BASELINE not in setting.strategies or len(setting.strategies) < 2:
        return _unasked(setting, others, "strategy", question, title)
    family = sorted(
        comparisons.against_random(setting), key=lambda c: (-c.result.mean, c.first)
    )
    if not family:
        return _unfinished(setting, "strategy", question, title)
    sentence = f"In {AREA}, {sentences.verdicts(family)} ({sentences.basis(family)})."
    averaged = sentences.averaged("strategy", family)
    details = [f"Averaged inside a trial first: {averaged}."] * bool(averaged)
    for c in family:
        details += [sentences.pair(c), sentences.ratio(c), *sentences.parts(c)]
    details += [sentences.pair(c) for c in comparisons.family(setting, "strategy")]
    details += sentences.left_out(family)
    details += sentences.unpaired(family, setting.strategies, "strategy")
    return _answer(setting, question, title, sentence, details, family)


def _cost(setting: Setting) -> Answer:
    """Q3: accuracy, labels and cost of all pairs under the same budget."""
    title, pairs = "At what cost?", compared_pairs(setting)
    if not pairs:
        return _unfinished(setting, "model", "Q3", title)
    sentence, details, established = told(setting, pairs)
    return Answer("Q3", title, setting.name, sentence, tuple(details), established)


def _answer(
    setting: Setting,
    question: str,
    title: str,
    sentence: str,
    details: list[str],
    shown: Iterable[Comparison],
) -> Answer:
    established = any(c.established for c in shown)
    return Answer(question, title, setting.name, sentence, tuple(details), established)


def _unasked(
    setting: Setting, others: Sequence[Setting], by: str, question: str, title: str
) -> Answer:
    """What is lacking to ask a question at all, and how to get it."""
    levels = [NAMES[by](level) for level in comparisons.levels(setting, by)]
    if by == "strategy" and BASELINE not in setting.strategies:
        why = "random, with which choosing is compared, was not run."
    else:
        why = (
            f"only {levels[0]} was run, and a comparison of {sentences.NOUNS[by]} "
            "needs two."
        )
    details = [
        f"To ask it, run the same trials with sweep={EXAMPLES[by]} in the "
        "configuration."
    ]
    elsewhere = {
        NAMES[by](level)
        for other in others
        for level in comparisons.levels(other, by)
        if NAMES[by](level) not in levels
    }
    if elsewhere:
        details.append(
            f"Runs with {listed(sorted(elsewhere))} differ in other settings too, so "
            "they are no comparison."
        )
    return Answer(question, title, setting.name, _NOT_ASKED + why, tuple(details), None)


def _unfinished(setting: Setting, by: str, question: str, title: str) -> Answer:
    """Says that no two finished runs can be compared yet."""
    done = sum(record.done for record in setting.runs)
    begun = len(setting.runs)
    sentence = (
        f"Not answered yet: {sentences.finished(done, begun)}, and no trial is "
        f"finished with two {sentences.NOUNS[by]}."
    )
    if question == "Q3":
        sentence = f"Not answered yet: {sentences.finished(done, begun)}."
    return Answer(question, title, setting.name, sentence, (), None)
