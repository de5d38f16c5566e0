"""What a page is made of, once all is counted."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aljax.report.answers import Answer
from aljax.report.doubt import Doubt
from aljax.report.record import Record
from aljax.report.reference import Curve
from aljax.report.runs import Study
from aljax.report.tables import Table

# The images `[N, H, W, C]` uint8 of a run's pool, or None where they cannot be had.
Images = Callable[[Record], np.ndarray | None]


@dataclass(frozen=True, eq=False)
class Report:
    """Everything that a page tells."""

    study: Study
    answers: tuple[Answer, ...]
    doubts: tuple[Doubt, ...]
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()  # what verdicts mean
    reference: tuple[Curve, ...] = ()
    images: Images | None = None
    command: str | None = None  # that made the report
