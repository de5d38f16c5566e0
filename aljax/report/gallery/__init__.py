"""Which pictures a page shows, and the words beneath each."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from aljax.report.gallery import accuracy, compared, cost, details
from aljax.report.gallery.picture import Missing, Picture
from aljax.report.reference import Curve
from aljax.report.settings import Setting
from aljax.report.style import Palette


class Chapter(NamedTuple):
    """A part of a page: what it shows of each setting."""

    name: str  # in links
    title: str
    pictures: Callable[[Setting, Palette], Sequence[Picture | Missing]] = (
        lambda setting, palette: ()
    )
    tables: tuple[str, ...] = ()  # by their section


# In the order of a page, after its main figure.
CHAPTERS = (
    Chapter("bought", "What it bought", details.purchases),
    Chapter("curves", "Curves", accuracy.more_curves),
    Chapter("tables", "Tables", tables=("pairs", "labels")),
    Chapter(
        *("random", "Against random", compared.against_random),
        ("against_random", "strategies"),
    ),
    Chapter(
        *("between", "Between optimizers, between networks", compared.between),
        ("optimizers", "networks"),
    ),
    Chapter("settings", "Between settings", tables=("settings",)),
    Chapter("classes", "Classes", details.classes, ("classes",)),
    Chapter("calibration", "Calibration", details.calibration, ("calibration",)),
    Chapter("cost", "Cost", cost.what_it_cost, ("cost",)),
)


def pictures(setting: Setting, reference: Sequence[Curve] = ()) -> dict[str, Picture]:
    """Every picture of some runs, by the name of its file on a page.

    For a notebook: `pictures(setting)["against_random"].draw(9.4)` is a matplotlib
    figure 9.4 inches wide.

    Args:
        setting: runs that may be compared; `read(workdirs).settings` has them.
        reference: published curves to lay under the accuracies.

    Returns:
        those that can be drawn of what was run and recorded.
    """
    palette = Palette(setting.runs)
    found = [accuracy.main(setting, palette, reference)]
    for chapter in CHAPTERS:
        found += chapter.pictures(setting, palette)
    return {it.stem: it for it in found if isinstance(it, Picture)}
