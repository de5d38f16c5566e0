"""Tables of a study: numbers for files, words for a page."""

from aljax.report.runs import Study
from aljax.report.tables import cells, comparisons, details
from aljax.report.tables.table import Table, write_csv

__all__ = ["Table", "tables", "write_csv"]


def tables(study: Study) -> tuple[Table, ...]:
    """Every table, setting by setting as on a page; then those of all runs."""
    found: list[Table] = []
    for setting in study.settings:
        if setting.cells:
            found += cells.summaries(setting)
            found += cells.accuracies(setting)
            found += cells.labels_needed(setting)
            found += comparisons.all_tables(setting)
            found += details.all_tables(setting)
    found += comparisons.between(study)
    return (*found, details.cycles(study), details.runs(study))
