"""The report at the end of an experiment."""

from pathlib import Path

from aljax.grid import expand
from aljax.machine.processes import done_by_first
from aljax.machine.terminal import complain
from aljax.report import write_report
from aljax.report.images import stored_images
from aljax.runs.plan import Plan
from aljax.runs.status import read_status


@done_by_first
def report_at_end(plan: Plan, command: str | None = None) -> Path | None:
    """Writes the report of an experiment once none of its runs is left to do.

    Of a grid whose parts are carried out by several processes or tasks, the last one
    writes it. Whatever goes wrong is said: the runs are done all the same.

    Args:
        plan: what was carried out.
        command: that the page says it was made by.

    Returns:
        the path of the page; None where there is none.
    """
    try:
        runs = [run for group in expand(plan.config) for run in group]
        found = [read_status(run, plan.workdir) for run in runs]
        left = {status.state for status in found} - {"done", "failed"}
        if left or not any(status.rows for status in found):
            return None
        images = stored_images(plan.data_dir)
        return write_report([plan.workdir], images=images, command=command)
    # Whatever it is, a finished experiment does not fail for a picture of it.
    except Exception as error:  # noqa: BLE001
        reason = " ".join(str(error).split()) or type(error).__name__
        complain(
            f"the runs are done, but their report is not ({reason[:300]}); "
            f"try aljax report --workdir={plan.workdir}."
        )
        return None
