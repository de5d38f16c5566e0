"""A reason to believe a number less, as a page says it."""

from collections.abc import Sequence
from dataclasses import dataclass

from aljax.report.record import Record

SHOWN = 3  # folders that a sentence names


@dataclass(frozen=True)
class Doubt:
    """One warning."""

    kind: str  # what fired: a word
    text: str


def named(runs: Sequence[Record]) -> str:
    """The folders of runs, the first few: "a, b and 4 more"."""
    folders = [record.folder for record in runs]
    if len(folders) <= SHOWN:
        return ", ".join(folders)
    return f"{', '.join(folders[:SHOWN])} and {len(folders) - SHOWN} more"
