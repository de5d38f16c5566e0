"""What a person sees: a progress bar on a terminal, plain lines elsewhere, a table.

Of several processes that form a run, only the first one speaks.
"""

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

from aljax.config import Config
from aljax.grid import Run
from aljax.machine import processes

LINE_SECONDS = 30.0  # between two progress lines where there is no terminal
LOG_WIDTH = 200  # columns of a log file


class Console:
    """Prints an experiment's progress; counts images over all of its runs.

    Args:
        total: images to be trained on by all runs, for the estimate.
    """

    def __init__(self, total: int = 0):
        self._out = RichConsole(highlight=False, quiet=not processes.first())
        if not self._out.is_terminal:
            self._out.width = LOG_WIDTH
        self._total, self._done, self._skipped = total, 0, 0
        self._seconds = 0.0
        self._last_line = time.monotonic()
        self._bar = None
        if self._out.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TaskProgressColumn(),
                TextColumn("{task.fields[detail]}"),
                console=self._out,
                transient=True,
            )
            self._task = self._bar.add_task("", total=total, detail="")

    def __enter__(self):
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *error):
        if self._bar:
            self._bar.stop()

    def say(self, text: str) -> None:
        """Prints a line, above the bar if there is one."""
        self._out.print(text, markup=False, soft_wrap=True)
        self._out.file.flush()

    def doing(self, what: str) -> None:
        """Says what keeps a person waiting where no images are counted."""
        if self._bar:
            self._show(what, "")
        else:
            self.say(what)

    def compiling(self, config: Config) -> None:
        """Says what is being compiled."""
        self.doing(
            f"compiling {config.model}, width {config.width}, {config.optimizer}"
        )

    def skip(self, images: int) -> None:
        """Counts images that an earlier start has trained on."""
        self._skipped += images

    def trained(self, images: int, seconds: float, where: str, detail: str) -> None:
        """Counts images just trained on.

        Args:
            images: how many.
            seconds: how long it took, without compiling.
            where: trial, cycle and epoch.
            detail: loss and accuracy of these images.
        """
        self._done += images
        self._seconds += seconds
        rate = self._done / max(self._seconds, 1e-9)
        left = max(self._total - self._done - self._skipped, 0) / rate
        remaining = str(timedelta(seconds=round(left)))
        self._show(where, f"{detail} · {rate:,.0f} images/s · {remaining} left")

    def _show(self, where: str, detail: str) -> None:
        if self._bar:
            done = self._done + self._skipped
            self._bar.update(
                self._task, completed=done, description=where, detail=detail
            )
        elif detail and time.monotonic() - self._last_line >= LINE_SECONDS:
            self._last_line = time.monotonic()
            share = (self._done + self._skipped) / max(self._total, 1)
            self.say(f"{where} · {detail} · {share:.0%} done")

    def cycle(self, run: Run, row: dict[str, Any]) -> None:
        """Prints the line of a finished cycle."""
        trials, cycles = run.config.trials, run.config.cycles
        leak = " [leaky: weights carried over between trials]" if row["leaky"] else ""
        self.say(
            f"Trial {row['trial']}/{trials} || Cycle {row['cycle']}/{cycles} || "
            f"Labelled Data {row['labeled']}: "
            f"Test Accuracy {100 * row['test_accuracy']:.2f}%{leak}"
        )

    def table(self, title: str, rows: list[dict[str, Any]]) -> None:
        """Prints the cycles of one run."""
        table = Table(title=title, title_justify="left")
        columns = ("cycle", "labels", "accuracy", "F1", "test loss", "ranking")
        for name in (*columns, "train s", "query s", "compile s", "images/s"):
            table.add_column(name, justify="right")
        for row in rows:
            table.add_row(
                str(row["cycle"]),
                str(row["labeled"]),
                _number(row["test_accuracy"], "{:.2%}"),
                _number(row["f1_macro"], "{:.4f}"),
                _number(row["test_loss"], "{:.4f}"),
                _number(row["loss_ranking_accuracy"], "{:.2%}"),
                _number(row["train_seconds"], "{:.1f}"),
                _number(row["query_seconds"], "{:.1f}"),
                _number(row["compile_seconds"], "{:.1f}"),
                _number(row["train_images_per_second"], "{:,.0f}"),
            )
        self._out.print(table)

    def paths(self, paths: list[Path]) -> None:
        """Prints which files were written."""
        for path in paths:
            self.say(f"wrote {path}")


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)
