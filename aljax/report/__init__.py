"""The report: runs in, one page with its figures and tables out.

Reads run folders and writes to none of them. Everything heavy is loaded when a report
is made, so that `import aljax` and training stay light.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import matplotlib.figure
    import numpy as np
    import pandas as pd

    from aljax.report.record import Record

FOLDER = "report"  # of the first workdir, where no other is named


def write_report(
    workdirs: Sequence[str | Path],
    out: str | Path | None = None,
    images: "Callable[[Record], np.ndarray | None] | None" = None,
    reference: str | Path | None = None,
    command: str | None = None,
) -> Path:
    """Writes the page of one or several workdirs, its figures and its tables.

    Args:
        workdirs: folders of experiments, whatever the state of their runs.
        out: folder of the report; None: `report` in the first workdir.
        images: gives the images `[N, H, W, C]` uint8 of a run's pool, or None where
            they cannot be had; without it the page shows none.
        reference: a CSV file of curves to lay under the runs' own, in the form of
            `aljax/report/published.csv`; None: that file.
        command: that the page says it was made by.

    Returns:
        the path of `index.html`.

    Raises:
        ValueError: no workdir, no finished cycle, or a reference that cannot be read.
        OSError: the folder cannot be written.
    """
    from aljax.report.answers import answers
    from aljax.report.honesty import doubts
    from aljax.report.method import notes
    from aljax.report.page import Report, write_page
    from aljax.report.reference import published, read_reference
    from aljax.report.runs import read
    from aljax.report.tables import tables

    curves = published() if reference is None else read_reference(reference)
    study = read(workdirs)
    report = Report(
        *(study, answers(study), doubts(study), tables(study), notes(study)),
        *(curves, images, command),
    )
    return write_page(report, Path(out or study.workdirs[0] / FOLDER))


def draw(
    workdirs: Sequence[str | Path], inches: float = 9.4
) -> "dict[str, matplotlib.figure.Figure]":
    """Every figure of a report, for a notebook to show or to change.

    Args:
        workdirs: as for `write_report`.
        inches: width of each.

    Returns:
        Figures by the name of their file on the page, such as "against_random"; where
        runs cannot be compared with each other, those of each setting.
    """
    from aljax.report.gallery import pictures
    from aljax.report.gallery.between import by_setting
    from aljax.report.reference import published
    from aljax.report.runs import read

    settings = [setting for setting in read(workdirs).settings if setting.cells]
    between = by_setting(settings)
    return {picture.stem: picture.draw(inches) for picture in [between] if picture} | {
        stem: picture.draw(inches)
        for setting in settings
        for stem, picture in pictures(setting, published()).items()
    }


def frame(workdirs: Sequence[str | Path]) -> "pd.DataFrame":
    """All cycles of all runs as a table; see `aljax.report.tidy`."""
    from aljax.report.runs import read
    from aljax.report.tidy import tidy

    return tidy(read(workdirs))
