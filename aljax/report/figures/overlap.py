"""How far strategies bought the same images."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from aljax.report.figures.heat import heat_panels, norm_of
from aljax.report.style import NARROW, shorten, styled


def overlap(
    matrix: pd.DataFrame, labels: Sequence[str], *, width: float = NARROW
) -> Figure:
    """Draws the Jaccard index of what each two strategies bought, in percent.

    Args:
        matrix: square and symmetric, fractions; NaN where not recorded.
        labels: what people call the strategies, in the matrix's order.
        width: of the figure, inches.
    """
    values = 100 * matrix.to_numpy(float)
    np.fill_diagonal(values, np.nan)
    with styled():
        return heat_panels(
            {"": values},
            list(map(shorten, labels)),
            list(map(shorten, labels)),
            norm_of([values]),
            width=width,
            across=1,
            heading="Images bought by both, % of those bought by either",
            text="{:.1f}",
            cell=0.3,
        )
