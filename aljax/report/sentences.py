"""Comparisons in words: effect, interval and n, and then the verdict."""

from collections.abc import Sequence

from aljax.report import names, wording
from aljax.report.comparisons import Comparison, equal_cells
from aljax.report.matches import BASELINE, NAMES, OTHERS, part_of
from aljax.report.names import counted, listed
from aljax.report.settings import Setting, of_networks
from aljax.report.statistics import FEWEST, Paired

NOUNS = {"optimizer": "optimizers", "model": "networks", "strategy": "strategies"}
PARTS = {"optimizer": "networks", "model": "optimizers"} | dict.fromkeys(
    ("strategy", "setting"), "pairs of network and optimizer"
)  # that `matches.part_of` tells apart
FEW = 2  # strategies that a sentence names
MANY = 4  # parts of a comparison from which on a sentence gives their range


def clause(comparison: Comparison, bare: bool = False) -> str:
    """What a comparison found: "2.0 points above Adam (95 % interval 1.0 to 3.0)".

    Args:
        comparison: the first is the subject of the sentence.
        bare: without "95 % interval", where it was said before.
    """
    found, (first, second) = comparison.result, comparison.names
    digits = wording.places(found.high - found.low)
    gap = wording.number(abs(found.mean), digits)
    where = "below" if found.mean < 0 else "above"
    said = f"{gap} points {where} {second}"
    if float(gap) == 0:
        said = f"{gap} points from {second}"
    if comparison.by in ("strategy", "setting"):
        said = f"{first} is {said}"
    if found.p is None:
        return said
    name = "" if bare else "95 % interval "
    return f"{said} ({name}{_bounds(found, where, digits)})"


def _bounds(found: Paired, where: str, digits: int) -> str:
    """An interval on the side of its mean, or on both: "0.3 below to 1.2 above"."""
    low, high = (wording.number(abs(v), digits) for v in (found.low, found.high))
    if found.low * found.high >= 0:
        return f"{low} to {high}" if where == "above" else f"{high} to {low}"
    return f"{low} below to {high} above"


def not_established(family: Sequence[Comparison]) -> str:
    """The verdict on what could not be shown: "not established with 5 trials"."""
    if family[0].bar:
        return f"not established, since {family[0].bar}"
    return f"not established with {wording.trials(c.result.n for c in family)}"


def verdicts(family: Sequence[Comparison]) -> str:
    """All comparisons of one subject, those that are established first."""
    parts, said = [], False
    groups: dict[tuple[bool, str], list[Comparison]] = {}
    for comparison in sorted(family, key=lambda c: not c.established):
        groups.setdefault((comparison.established, comparison.bar), []).append(
            comparison
        )
    for (established, _), group in groups.items():
        clauses = []
        for comparison in group:
            clauses.append(clause(comparison, said))
            said = said or comparison.result.p is not None
        verdict = "established" if established else not_established(group)
        parts.append(f"{listed(clauses)}: {verdict}")
    return "; ".join(parts)


def basis(family: Sequence[Comparison]) -> str:
    """What verdicts rest on: "n = 5 trials; Holm over 6 comparisons"."""
    n = f"n = {wording.trials(c.result.n for c in family)}"
    tested = sum(c.result.p is not None for c in family)
    if not tested:
        return f"{n}, no test"
    if tested == 1:
        return f"{n}, paired t test"
    return f"{n}, paired t tests, Holm over {tested} comparisons"


def pair(comparison: Comparison) -> str:
    """One comparison in full, and what its trials could have shown."""
    found, (first, second) = comparison.result, comparison.names
    said = f"{first} − {second}: {wording.difference(found)}"
    tested = wording.p_value(comparison.p_holm)
    tested += " by Holm" * (comparison.p_holm != found.p)
    if comparison.established:
        return f"{said}, {tested}: established."
    verdict = not_established([comparison])
    if found.n < FEWEST:
        return f"{said}: {verdict}."
    if found.p is None:
        return (
            f"{said}: {verdict}; the difference is the same in every trial, as in "
            "copies of one run, so there is nothing to test with."
        )
    said = f"{said}, {tested}: {verdict}"
    if abs(found.mean) < found.detectable:
        least = wording.points(found.detectable, wording.places(2 * found.detectable))
        return f"{said}; with this spread only {least} or more could have been shown."
    alone = f"; alone it had {wording.p_value(found.p)}" * (not comparison.bar)
    return f"{said}{alone}."


def parts(comparison: Comparison) -> list[str]:
    """The same difference in each part of the runs alone, if there are two."""
    within, (first, second) = comparison.within, comparison.names
    said = {n: wording.brief(part, comparison.result.n) for n, part in within.items()}
    if len(within) < 2:
        return []
    if len(within) > MANY:
        order = sorted(within, key=lambda name: within[name].mean)
        least, most = (f"{name} {said[name]}" for name in (order[0], order[-1]))
        text = (
            f"{first} − {second}, in points, goes from {least} to {most} over "
            f"{len(order)} {PARTS[comparison.by]}"
        )
    else:
        values = [f"{name} {text}" for name, text in said.items()]
        text = f"{first} − {second}, in points, with each alone: {', '.join(values)}"
    disagree = comparison.interactions()
    if disagree:
        named = listed([f"{a} and {b}" for a, b in disagree[:MANY]])
        text += f"; established: they do not agree ({named} have opposite signs)"
    return [f"{text}."]


def ratio(comparison: Comparison) -> str:
    """How many times as many labels random needs for what a strategy reaches."""
    first, second = comparison.names
    return (
        f"For the highest accuracy that both reach, {second} needs "
        f"{wording.ratio(comparison.label_ratio)} as many labels as {first} "
        f"(n = {comparison.result.n})."
    )


def left_out(family: Sequence[Comparison]) -> list[str]:
    """Which runs have no part in the comparisons, and why; many are counted by why."""
    runs = list(dict.fromkeys(run for c in family for run in c.left_out))
    if not runs:
        return []
    shown = [f"{folder} {why}" for folder, why in runs]
    if len(runs) > MANY:
        reasons: dict[str, list[str]] = {}
        for folder, why in runs:
            reasons.setdefault(why, []).append(folder)
        shown = [
            f"{counted(len(folders), 'run')} of which each {why} "
            f"({', '.join(folders[:2])}{', …' * (len(folders) > 2)})"
            for why, folders in reasons.items()
        ]
    return [f"Left out of some comparisons: {'; '.join(shown)}."]


def narrower(family: Sequence[Comparison]) -> list[str]:
    """Which comparisons rest on less than others: on one network of three."""
    every = {block for c in family for block in c.match.blocks}
    found: dict[tuple, list[Comparison]] = {}
    for comparison in family:
        if set(comparison.match.blocks) != every:
            found.setdefault(comparison.match.blocks, []).append(comparison)
    return [
        f"On {where(group[0])} alone: {listed([_sides(c) for c in group])}."
        for group in found.values()
    ]


def own_of_networks(setting: Setting) -> list[str]:
    """Settings of optimizers that are not the same on all networks."""
    own = of_networks(setting)
    return [f"Not all settings are the same on all networks: {own}."] if own else []


def unchanged(settings: Sequence[Setting]) -> list[str]:
    """What no setting changes: runs that are equal under two of them."""
    found: dict[str, list[str]] = {}
    for name, cell in equal_cells(settings):
        found.setdefault(f"“{name}”", []).append(names.cell_name(*cell))
    return [
        f"{name} changes nothing in {'; '.join(cells[:MANY])}"
        + f"; and {len(cells) - MANY} more" * (len(cells) > MANY)
        + ": trials that both finished are equal."
        for name, cells in found.items()
    ]


def where(comparison: Comparison) -> str:
    """What the runs of a comparison share: "ResNet18 under entropy"."""
    blocks = comparison.match.blocks
    parts = list(dict.fromkeys(part_of(comparison.by, block) for block in blocks))
    under = "" if comparison.by == "strategy" else f" under {under_which([comparison])}"
    return listed(parts) + under


def _sides(comparison: Comparison) -> str:
    first, second = comparison.names
    return first if comparison.second == BASELINE else f"{first} − {second}"


def under_which(family: Sequence[Comparison], most: int = 99) -> str:
    """The strategies under which something was compared; more than `most` by number."""
    places = {c.by: OTHERS[c.by].index("strategy") for c in family}
    found = {block[places[c.by]] for c in family for block in c.match.blocks}
    return shown_strategies(names.in_order(found, "strategy"), most)


def unpaired(family: Sequence[Comparison], levels: Sequence[str], by: str) -> list[str]:
    """Which levels were compared with nothing, for lack of a common trial."""
    met = {level for c in family for level in (c.first, c.second)}
    alone = [NAMES[by](level) for level in levels if level not in met]
    if not alone:
        return []
    under = "" if by == "strategy" or not family else f" under {under_which(family)}"
    text = f"No finished trial of {listed(alone)} has a partner{under}"
    return [f"{text}, so nothing is said."]


def averaged(by: str, family: Sequence[Comparison]) -> str:
    """What was averaged inside each trial before it was compared; "": nothing."""
    kinds = []
    for place, other in enumerate(OTHERS[by]):
        number = max(len({b[place] for b in c.match.blocks}) for c in family)
        if number > 1:
            kinds.append(f"{number} {NOUNS[other]}")
    return listed(kinds) if kinds else ""


def shown_strategies(strategies: Sequence[str], most: int = 99) -> str:
    """Strategies by name, "learning loss and entropy"; more than `most` by number."""
    if len(strategies) > most:
        return f"{len(strategies)} strategies"
    return listed([names.strategy_name(s) for s in strategies])


def finished(done: int, begun: int) -> str:
    """How far a setting is: "3 of 10 runs are finished"."""
    return f"{done} of {counted(begun, 'run')} {'is' if done == 1 else 'are'} finished"
