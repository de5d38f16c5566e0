"""Numbers as a page says them. Nothing unknown is ever a number."""

import math
from collections.abc import Iterable, Sequence

from aljax.report.names import counted
from aljax.report.statistics import FEWEST, Estimate, Interval, Paired

UNKNOWN = "not recorded"
MISSING = "–"


def places(width: float) -> int:
    """Decimals that a number deserves whose interval is so wide, one or two."""
    return 2 if width < 0.2 else 1


def number(value: float, decimals: int = 1) -> str:
    """A number with a proper minus; "–" where it is NaN."""
    if math.isnan(value):
        return MISSING
    return f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "−")


def points(value: float, decimals: int = 1) -> str:
    """A difference in percentage points: "2.1 points"."""
    return f"{number(value, decimals)} points"


def interval(low: float, high: float, decimals: int = 1) -> str:
    """The bounds of an interval: "1.0 to 3.2"."""
    return f"{number(low, decimals)} to {number(high, decimals)}"


def p_value(p: float | None) -> str:
    """A p value in three decimals, or that it is smaller: "p = 0.021", "p < 0.001"."""
    if p is None:
        return "no test"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def spread(found: Estimate, decimals: int = 1) -> str:
    """Mean ± standard deviation; the mean alone where there is one trial."""
    mean = number(found.mean, decimals)
    return mean if found.n < 2 else f"{mean} ± {number(found.sd, decimals)}"


def percent(fraction: float, decimals: int = 1) -> str:
    """A fraction in percent: "88.2 %"."""
    return f"{number(100 * fraction, decimals)} %"


def difference(result: Paired) -> str:
    """A difference in full: "2.1 points (95 % interval 1.0 to 3.2, n = 5)"."""
    digits = places(result.high - result.low)
    said = points(result.mean, digits)
    if result.n < FEWEST:
        return f"{said} (n = {result.n}, too few for an interval)"
    bounds = interval(result.low, result.high, digits)
    return f"{said} (95 % interval {bounds}, n = {result.n})"


def brief(result: Paired, n: int) -> str:
    """A difference in points and its interval: "2.1 (1.0 to 3.2)".

    With its number of trials, where that is not the `n` of what was said before.
    """
    digits = places(result.high - result.low)
    about = [] if result.n < FEWEST else [interval(result.low, result.high, digits)]
    about += [f"n = {result.n}"] if result.n != n else []
    said = number(result.mean, digits)
    return f"{said} ({', '.join(about)})" if about else said


def duration(seconds: float) -> str:
    """Seconds in the unit that people would use: "42 s", "3.1 min", "2.4 h"."""
    if math.isnan(seconds):
        return UNKNOWN
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def size(count: float) -> str:
    """Bytes in GB or MB of powers of ten."""
    if math.isnan(count):
        return UNKNOWN
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def memory(device: float, host: float) -> str:
    """Peak bytes of the device where it tells, of the host otherwise."""
    if not math.isnan(device):
        return size(device)
    return UNKNOWN if math.isnan(host) else f"{size(host)} (host)"


def labels(found: Interval, first: int, last: int) -> str:
    """Labels needed, with their interval: "3,400 (3,100 to 3,800)", "not reached …".

    The first budget stands for itself and all below it: "≤ 500".
    """

    def count(labels: float) -> str:
        return "≤ " * (labels <= first) + f"{labels:,.0f}"

    if found.value is None:
        return f"not reached by {last:,}"
    said = count(found.value)
    if found.low is None:
        return said
    high = count(found.high) if found.high is not None else f"beyond {last:,}"
    return f"{said} ({count(found.low)} to {high})"


def times(found: Interval) -> str:
    """A ratio of labels with its interval: "1.35 (1.21 to 1.48)"."""
    said = f"{found.value:.2f}"
    if found.low is None or found.high is None:
        return said
    return f"{said} ({found.low:.2f} to {found.high:.2f})"


def ratio(found: Interval) -> str:
    """A ratio in a sentence: "1.35 times (95 % interval 1.21 to 1.48)"."""
    return times(found).replace(" (", " times (95 % interval ", 1) + " times" * (
        found.low is None
    )


def trials(ns: Iterable[int]) -> str:
    """How many trials comparisons have: "5 trials", "3 to 5 trials"."""
    low, high = min(ns := list(ns)), max(ns)
    return counted(high, "trial") if low == high else f"{low} to {high} trials"


def unequal(ns: Iterable[int]) -> str:
    """What to mind where means stand beside each other; "" where all have one n."""
    if len(set(ns)) < 2:
        return ""
    return (
        " Where n is unequal, the gap of two means is not the difference by trial on "
        "which verdicts rest."
    )


def verdict(established: Sequence[bool]) -> str:
    """The verdict on several comparisons at once."""
    if established and all(established):
        return "established"
    return "established in part" if any(established) else "not established"


def sentence(text: str) -> str:
    """Begins with a capital and ends with a full stop."""
    return text[:1].upper() + text[1:] + "." * (not text.endswith("."))
