"""Which pictures a page shows, and the words beneath each."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aljax.report.gallery.picture import Picture
    from aljax.report.reference import Curve
    from aljax.report.settings import Setting


def pictures(
    setting: "Setting", reference: Sequence["Curve"] = ()
) -> dict[str, "Picture"]:
    """Every picture of some runs, by the name of its file on a page.

    For a notebook: `pictures(setting)["against_random"].draw(9.4)` is a matplotlib
    figure 9.4 inches wide.

    Args:
        setting: runs that may be compared; `read(workdirs).settings` has them.
        reference: published curves to lay under the accuracies.

    Returns:
        those that can be drawn of what was run and recorded.
    """
    from aljax.report.gallery import accuracy, compared, cost, details
    from aljax.report.gallery.picture import Picture
    from aljax.report.style import Palette

    palette = Palette(setting.runs)
    found = [
        accuracy.main(setting, palette, reference),
        *accuracy.more_curves(setting, palette),
        *compared.against_random(setting, palette),
        *compared.between(setting, palette, "optimizer"),
        *compared.between(setting, palette, "model"),
        *details.purchases(setting, palette),
        *details.classes(setting),
        *details.calibration(setting, palette),
        *cost.what_it_cost(setting, palette),
    ]
    return {it.stem: it for it in found if isinstance(it, Picture)}
