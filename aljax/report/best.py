"""Which of several is established to be the best, if any is."""

from collections.abc import Mapping, Sequence

import numpy as np

from aljax.report.record import Unit
from aljax.report.statistics import LEVEL, holm, paired


def ahead(values: Sequence[Mapping[Unit, float]], best: int) -> list[bool]:
    """Against which of the others one of several is established to be higher.

    Paired t tests over the trials that both have, with Holm's correction over all
    others: one that is ahead of every other is the best in the sense of Hsu 1996.

    Args:
        values: a number by trial of each.
        best: the place of the one that may be the best.

    Returns:
        a verdict for each other, in order.
    """
    ps = []
    for place, other in enumerate(values):
        if place != best:
            units = [unit for unit in values[best] if unit in other]
            sides = [[some[u] for u in units] for some in (values[best], other)]
            found = paired(*sides) if units else None
            # No test counts as one that failed: it takes its place in the family.
            tested = found and found.p is not None and found.mean > 0
            ps.append(found.p if tested else 1.0)
    return [p < 1 - LEVEL for p in holm(ps)]


def established(values: Sequence[Mapping[Unit, float]]) -> int | None:
    """The place of the one that is ahead of every other; None: nobody is."""
    known = [place for place, some in enumerate(values) if some]
    if len(known) < 2:
        return None
    best = max(known, key=lambda place: np.mean(list(values[place].values())))
    shown = [values[place] for place in known]
    return best if all(ahead(shown, known.index(best))) else None
