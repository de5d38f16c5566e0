"""A table twice: as numbers for a file, and as words for a page."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd


@dataclass(frozen=True, eq=False)
class Table:
    """One table of one setting."""

    stem: str  # of its file
    title: str
    caption: str
    section: str  # of the page; "": the table is a file only
    data: pd.DataFrame  # accuracies as fractions, differences in points
    shown: pd.DataFrame  # of str
    setting: str = ""  # its name
    # (row, column) places in `shown` of what is established to be the best.
    best: frozenset[tuple[int, int]] = frozenset()


def write_csv(table: Table, folder: Path) -> Path:
    """Writes the numbers of a table; the same table gives the same bytes.

    Args:
        table: any.
        folder: exists.

    Returns:
        the path of the file, which `pandas.read_csv` reads; unknown is empty.
    """
    path = folder / f"{table.stem}.csv"
    table.data.to_csv(path, index=False, lineterminator="\n", float_format="%.10g")
    return path
