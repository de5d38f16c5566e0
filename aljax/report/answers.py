"""The answers: one sentence per question, its effect first, and what it rests on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from aljax.report import comparisons, matches, sentences, wording
from aljax.report.comparisons import Comparison
from aljax.report.matches import BASELINE, NAMES
from aljax.report.names import listed
from aljax.report.pairs import compared_pairs, told
from aljax.report.runs import Study
from aljax.report.settings import Setting

AREA = "accuracy averaged over the budget (AUBC)"
_NOT_ASKED = "Not asked: "
_MOST_PAIRS = 10  # comparisons that are all told
EXAMPLES = {
    "optimizer": "{'optimizer': ('sgd', 'adamw')}",
    "model": "{'model': ('resnet18', 'resnet34')}",
    "strategy": "{'strategy': ('random', 'entropy')}",
}


@dataclass(frozen=True)
class Answer:
    """What the runs of one setting say to one question."""

    question: str  # Q1 … Q5
    title: str
    setting: str  # its name; "": the only one
    sentence: str
    details: tuple[str, ...]  # a sentence each
    verdict: str | None  # of `wording.verdict`; None: nothing was compared


def answers(study: Study) -> tuple[Answer, ...]:
    """Q1 optimizers, Q2 networks, Q3 cost, Q4 strategies, Q5 settings.

    Setting by setting; what other settings change comes after the first. A question
    that no setting can be asked comes last, once.
    """
    found: list[Answer] = []
    settings = [setting for setting in study.settings if setting.cells]
    for setting in settings:
        others = [s for s in study.settings if s is not setting]
        found += [
            _levels(setting, others, "optimizer", "Q1", "Which optimizer?"),
            _levels(setting, others, "model", "Q2", "Which network?"),
            _cost(setting),
            _strategies(setting, others),
        ]
        if setting is settings[0]:
            found += _between_settings(settings)
    asked = [a for a in found if not a.sentence.startswith(_NOT_ASKED)]
    known = {answer.question for answer in asked}
    unasked = [a for a in found[:4] if a.question not in known]
    return (*asked, *unasked)


def _levels(
    setting: Setting, others: Sequence[Setting], by: str, question: str, title: str
) -> Answer:
    """Q1 and Q2: which level leads, and whether that is established."""
    levels = setting.levels(by)
    if len(levels) < 2:
        return _unasked(setting, others, by, question, title)
    family, unchosen = comparisons.family(setting, by), ()
    if BASELINE not in matches.shared(setting):
        unchosen = comparisons.family(setting, by, (BASELINE,))
    if not family:  # as yet it is random alone that they share
        family, unchosen = unchosen, ()
    if not family:
        return _unfinished(setting, by, question, title)
    sentence, leads = _lead(by, family)
    averaged = sentences.averaged(by, family)
    details = [
        f"Compared under {sentences.under_which(family)}"
        + f"; {averaged} of a trial are averaged first" * bool(averaged)
        + "."
    ]
    details += sentences.own_of_networks(setting)
    details += sentences.narrower(family)
    details += [sentences.pair(c) for c in family]
    shown = [*leads, *(c for c in family if c.interactions() and not _among(c, leads))]
    details += [text for c in shown for text in sentences.parts(c)]
    if unchosen:
        details.append(_lead(by, unchosen)[0])
    details += sentences.left_out((*family, *unchosen))
    details += sentences.unpaired(family, levels, by)
    unmet = len(levels) - 1 - len(leads)
    return _answer(setting, question, title, sentence, details, leads, unmet)


def _lead(by: str, family: Sequence[Comparison]) -> tuple[str, list[Comparison]]:
    """Which level leads, in a sentence, and its comparisons with the others."""
    leads = _leading(family)
    area = np.mean([c.match.aubc[0].mean() for c in leads])
    under = sentences.under_which(family, sentences.FEW)
    sentence = (
        f"under {under}, {NAMES[by](leads[0].first)} has the highest {AREA}, "
        f"{wording.number(area)} %: {sentences.verdicts(leads)} "
        f"({sentences.basis(family)})"
    )
    return wording.sentence(sentence), leads


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
    question, title = "Q4", "What does choosing change?"
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
    details += sentences.narrower(family)
    for c in family:
        details += [sentences.pair(c), sentences.ratio(c), *sentences.parts(c)]
    details += _choosing(comparisons.family(setting, "strategy"))
    details += sentences.left_out(family)
    details += sentences.unpaired(family, setting.strategies, "strategy")
    return _answer(setting, question, title, sentence, details, family)


def _choosing(family: Sequence[Comparison]) -> list[str]:
    """Strategies that choose, with each other; of many pairs what is established."""
    if len(family) <= _MOST_PAIRS:
        return [sentences.pair(c) for c in family]
    shown = [c for c in family if c.established]
    lead = (
        f"Of {len(family)} comparisons of strategies that choose with each other, "
        f"{len(shown) or 'none'} {'is' if len(shown) < 2 else 'are'} established "
        f"({sentences.basis(family)}); the table has all."
    )
    return [lead, *(sentences.pair(c) for c in shown)]


def _between_settings(settings: Sequence[Setting]) -> list[Answer]:
    """Q5: what the other settings change; nothing where there is one, or no pair."""
    title = "What do settings change?"
    family, same = comparisons.between_settings(settings), sentences.unchanged(settings)
    if not family:
        return [Answer("Q5", title, "", text, (), None) for text in same]
    sentence = f"In {AREA}, {sentences.verdicts(family)} ({sentences.basis(family)})."
    averaged = sentences.averaged("setting", family)
    details = sentences.narrower(family) or [f"On {sentences.where(family[0])}."]
    details += [f"Averaged inside a trial first: {averaged}."] * bool(averaged)
    for c in family:
        details += [sentences.pair(c), *sentences.parts(c)]
    details += sentences.left_out(family) + same
    known = {c.first for c in family}
    if rest := [f"“{s.name}”" for s in settings[1:] if s.name not in known]:
        details.append(
            "Not compared, for lack of a common trial with the same images and budgets "
            f"but other numbers: {listed(rest)}."
        )
    # Said of several settings, so it stands under none of their names.
    return [_answer(None, "Q5", title, sentence, details, family)]


def _cost(setting: Setting) -> Answer:
    """Q3: accuracy, labels and cost of all pairs under the same budget."""
    title, pairs = "At what cost?", compared_pairs(setting)
    if not pairs:
        return _unfinished(setting, "model", "Q3", title)
    sentence, details, verdict = told(setting, pairs)
    return Answer("Q3", title, setting.name, sentence, tuple(details), verdict)


def _answer(
    setting: Setting | None,
    question: str,
    title: str,
    sentence: str,
    details: list[str],
    shown: Iterable[Comparison],
    unmet: int = 0,
) -> Answer:
    """An answer whose verdict is on what is shown, and on so many it has not met."""
    verdict = wording.verdict([*(c.established for c in shown), *[False] * unmet])
    name = setting.name if setting else ""
    return Answer(question, title, name, sentence, tuple(details), verdict)


def _unasked(
    setting: Setting, others: Sequence[Setting], by: str, question: str, title: str
) -> Answer:
    """What is lacking to ask a question at all, and how to get it."""
    levels = [NAMES[by](level) for level in setting.levels(by)]
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
        for level in other.levels(by)
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
