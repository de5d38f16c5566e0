"""How everything in a report looks: colours, markers, type, and the space of a figure.

The eight colours are Okabe & Ito's (2008), which the colour-blind tell apart; a marker
and a name say the same again. A name has the same colour on every figure.
"""

import itertools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib

from aljax.report import names
from aljax.report.record import Record

# Inches: a figure across a page and one across a telephone, both with 9-point type.
WIDE, NARROW = 9.4, 3.75

BLUE, VERMILLION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
ORANGE, SKY, YELLOW = "#e69f00", "#56b4e9", "#f0e442"
# Colours of no name: the page swaps them for those of a dark scheme, so that nothing
# else may be drawn in them.
INK, MUTED, RULE, FAINT, GROUND = "#1b1f24", "#5c6570", "#e2e5e9", "#ccd1d7", "#fefefe"
RANDOM = "#868e98"
GOOD, BAD = BLUE, VERMILLION

_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, INK, YELLOW)
_OF_MODELS = (BLUE, ORANGE, GREEN, PURPLE, VERMILLION, SKY, INK, YELLOW)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
_KNOWN = {
    "optimizer": tuple(names.OPTIMIZERS),
    "model": ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    "strategy": (
        *("entropy", "learning_loss", "margin", "least_confidence"),
        *("badge", "k_center", "bald", "typiclust"),
    ),
}
KINDS = tuple(names.NAMES)
_LONGEST = 28


@dataclass(frozen=True)
class Look:
    """How one series is drawn and what it is called."""

    label: str
    colour: str
    marker: str = "o"
    dashes: str | tuple = "-"
    depth: float = 3.0


def called(kind: str, name: str) -> str:
    """What people call a network, an optimizer or a strategy, on one line."""
    return shorten(names.NAMES[kind](name))


def shorten(name: str, longest: int = _LONGEST) -> str:
    """A name of somebody else's on one line: no control characters, not too long."""
    seen = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return seen if len(seen) <= longest else seen[: longest - 1] + "…"


def looks_of_settings(settings: Sequence[str]) -> dict[str, Look]:
    """The looks of settings by name; the first is dashed, as what others change."""
    looks = {}
    for place, name in enumerate(settings):
        again, colour = divmod(place, len(_COLOURS))
        marker = _MARKERS[(place + 3 * again) % len(_MARKERS)]
        dashes = "-" if place else (0, (4, 2))
        looks[name] = Look(shorten(name), _COLOURS[colour], marker, dashes)
    return looks


class Palette:
    """The looks of all names in a report.

    A name that aljax knows has its own colour always; others take what is left, in
    alphabetical order, and past eight the colours begin anew: figures then show one
    name at a time.
    """

    def __init__(self, runs: Iterable[Record]):
        """Args: runs: all of a report, so that its figures agree."""
        runs = tuple(runs)
        self._looks = {
            kind: _looks(kind, {getattr(run, kind) for run in runs}) for kind in KINDS
        }

    def look(self, kind: str, name: str) -> Look:
        """The look of a "model", "optimizer" or "strategy"."""
        return self._looks[kind][name]


def _looks(kind: str, found: set[str]) -> dict[str, Look]:
    """Known names first, each in its own place; then the others in the gaps."""
    looks = {}
    colours = _OF_MODELS if kind == "model" else _COLOURS
    if kind == "strategy" and "random" in found:
        label = called(kind, "random")
        looks["random"] = Look(label, RANDOM, "o", (0, (4, 2)), depth=2.0)
    known = _KNOWN.get(kind, ())
    places = {name: place for place, name in enumerate(known) if name in found}
    free = [i for i in range(len(colours)) if i not in places.values()]
    more = itertools.count(len(colours))
    others = sorted(found - places.keys() - looks.keys())
    places |= dict(zip(others, itertools.chain(free, more), strict=False))
    for name, place in places.items():
        again, place = divmod(place, len(colours))
        # A colour that is used again has another marker.
        marker = _MARKERS[(place + 3 * again) % len(_MARKERS)]
        looks[name] = Look(called(kind, name), colours[place], marker)
    return looks


_SETTINGS = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "text.parse_math": False,  # class and folder names may hold a dollar sign
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": FAINT,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "axes.titlepad": 5.0,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "figure.facecolor": GROUND,
    "savefig.facecolor": GROUND,
    "figure.dpi": 96.0,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "lines.solid_capstyle": "round",
    "image.interpolation": "nearest",
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "aljax",
    "path.simplify": False,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draws in the style of a report, whatever the settings of the surroundings."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        # The font of the PNG lacks many scripts; the page uses the reader's own.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield
