"""A picture of a page: a figure that is not drawn yet, and the words around it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from matplotlib.figure import Figure

from aljax.report import names, wording
from aljax.report.settings import Cell, Setting
from aljax.report.statistics import FEWEST


@dataclass(frozen=True)
class Picture:
    """A figure with its caption, and with a text for those who do not see it."""

    stem: str  # of its files
    title: str
    caption: str
    text: str  # instead of the picture
    draw: Callable[[float], Figure]  # from a width in inches
    small: bool = False  # the narrow one serves every screen
    folded: bool = False


@dataclass(frozen=True)
class Missing:
    """A sentence where a picture would be."""

    text: str


def trials(setting: Setting, cells: Iterable[Cell]) -> str:
    """How many trials a line has, and what its band is."""
    cells = tuple(cells)
    counts = sorted({len(setting.cell(*cell)) for cell in cells})
    if counts[-1] == 1:
        return "One trial a line (n = 1), so there is no spread to show."
    span = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    lines = f"Lines are means over n = {span} trials, thin lines the trials"
    if counts[-1] < FEWEST:
        return f"{lines}; too few for an interval."
    few = f" (from {FEWEST} trials on)" if counts[0] < FEWEST else ""
    lengths = {len(run.rows) for cell in cells for run in setting.cell(*cell)}
    short = " Where trials have not got so far, a mean is of fewer." * (
        len(lengths) > 1
    )
    return (
        f"{lines}, bands 95 % t intervals of the mean{few}.{short}"
        f"{wording.unequal(counts)}"
    )


def main_pair(setting: Setting) -> tuple[str, str]:
    """The pair whose details a page shows: ResNet18 with SGD, which papers use.

    Where it was not run, the pair with most runs, the first of those.
    """
    pairs = list(dict.fromkeys(cell[:2] for cell in setting.cells))
    if ("resnet18", "sgd") in pairs:
        return "resnet18", "sgd"
    return max(pairs, key=lambda p: sum(run.pair == p for run in setting.runs))


def of_pair(setting: Setting, pair: tuple[str, str]) -> str:
    """Says which pair a detail is of, and that there are others."""
    others = len({cell[:2] for cell in setting.cells}) - 1
    more = f"; rows of runs have {names.counted(others, 'more pair')}"
    rest = more * bool(others)
    return f"{names.pair_name(*pair)}{rest}"
