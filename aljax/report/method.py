"""How a report comes to its verdicts, said once."""

import math

import numpy as np

from aljax.report.runs import Study
from aljax.report.statistics import FEWEST, FEWEST_DRAWN

GENERAL = (
    "A comparison is one number per trial, the area under accuracy over labels divided "
    "by their range (AUBC), as a difference between two runs of the same seed and "
    "trial, which share their first images and, in one network, weights. Networks, "
    "optimizers and strategies of one trial are averaged first, since they are no "
    "trials themselves.",
    f'"Established" is a p value below 0.05 of the paired t test, from {FEWEST} trials '
    "on, after Holm's correction over all comparisons of its family. It takes the "
    "differences to be roughly normal, which so few trials cannot show. Tests by rank "
    "or flipped signs do without that, and cannot go below 0.06 with five pairs.",
    '"Not established" is not "no difference": the interval says how large one may be.',
    "Labels needed are read off the mean curve, made monotone from below, with "
    "straight lines between budgets; their intervals come from draws of whole "
    f"trials, two curves together, from {FEWEST_DRAWN} trials on, and are widened for "
    "so few (expanded percentiles, Hesterberg 2015): of five normal numbers they hold "
    "the mean in 92 % of cases.",
)


def notes(study: Study) -> tuple[str, ...]:
    """What verdicts mean, and what the size of the test set adds."""
    return GENERAL + tuple(_test_set(study))


def _test_set(study: Study) -> list[str]:
    """The binomial interval of one accuracy on the smallest test set of the runs."""
    sizes = {
        int(row["confusion"].sum())
        for record in study.runs
        for row in record.rows[:1]
        if row["confusion"] is not None
    }
    if not sizes:
        return []
    images = min(sizes)
    last = np.median([r.rows[-1]["test_accuracy"] for r in study.runs if r.rows])
    half = 100 * 1.96 * math.sqrt(last * (1 - last) / images)
    return [
        f"Trials vary labels and weights, not the {images:,} test images: these leave "
        f"± {half:.1f} points (95 %) on an accuracy of {100 * last:.0f} %, much of "
        "which cancels between runs that share them."
    ]
