"""What a person sees: a progress bar on a terminal, plain lines elsewhere, a table.

Of several processes that form a run, only the first one speaks.
"""

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Column, Table

from aljax.config import Config
from aljax.grid import Run
from aljax.machine import processes
from aljax.runs.pace import Pace

LINE_SECONDS = 30.0  # between two progress lines where there is no terminal
LOG_WIDTH = 200  # columns of a log file
# Columns of the table of a run, in their order: field and form.
_COLUMNS = {
    "cycle": ("cycle", "{}"),
    "labels": ("labeled", "{}"),
    "accuracy": ("test_accuracy", "{:.2%}"),
    "F1": ("f1_macro", "{:.4f}"),
    "test loss": ("test_loss", "{:.4f}"),
    "ranking": ("loss_ranking_accuracy", "{:.2%}"),
    "train s": ("train_seconds", "{:.1f}"),
    "query s": ("query_seconds", "{:.1f}"),
    "compile s": ("compile_seconds", "{:.1f}"),
    "images/s": ("train_images_per_second", "{:,.0f}"),
}
_LEAST = ("ranking", "compile s")  # left out first where a terminal is narrow


class Console:
    """Prints an experiment's progress; counts images over all of its runs.

    Args:
        total: images to be trained on by all runs, for the estimate.
        several: whether lines must say which member of a grid they are of.
        out: where to print; None: standard output.
    """

    def __init__(
        self, total: int = 0, several: bool = False, out: RichConsole | None = None
    ):
        quiet = not processes.first()
        self._out = out or RichConsole(highlight=False, quiet=quiet)
        if not self._out.is_terminal:
            self._out.width = LOG_WIDTH
        self._total, self._done, self._skipped = total, 0, 0
        self._several = several
        # Of the member of the grid that is trained now.
        self._member, self._images, self._seconds = "", 0, 0.0
        self._last_line = time.monotonic()
        self._bar = None
        if self._out.is_terminal:
            # Where a terminal is narrow, the end of the line goes first.
            self._bar = Progress(
                TaskProgressColumn(),
                TextColumn("{task.fields[left]}"),
                BarColumn(bar_width=10),
                TextColumn(
                    "{task.description}",
                    markup=False,
                    table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
                ),
                console=self._out,
                transient=True,
                expand=True,
            )
            self._task = self._bar.add_task("", total=total, left="")

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
            self._bar.update(self._task, description=what)
        else:
            self.say(what)

    def compiling(self, config: Config, earlier: Pace | None) -> None:
        """Says what is being compiled, and how long that took earlier."""
        took = "a minute or more on a CPU where nothing like it was compiled before"
        if earlier:
            took = f"{earlier.compile_seconds:.0f} s earlier, less if it was kept"
        self.doing(
            f"compiling {config.model}, width {config.width}, {config.optimizer}, "
            f"once ({took})"
        )

    @property
    def counted(self) -> int:
        """Images that need not be trained on any more, of all runs."""
        return self._done + self._skipped

    def begin(self, run: Run) -> None:
        """Measures the pace anew where a run is of another member of the grid."""
        member = run.folder.rpartition("/")[0]
        if member != self._member:
            self._member, self._images, self._seconds = member, 0, 0.0

    def skip(self, images: int) -> None:
        """Counts images that an earlier start has trained on, or that none will."""
        self._skipped += images

    def trained(self, images: int, seconds: float, where: str, detail: str) -> None:
        """Counts images just trained on.

        Args:
            images: how many.
            seconds: how long it took, without compiling.
            where: cycle, epoch and run.
            detail: loss and accuracy of these images.
        """
        self._done += images
        self._images += images
        self._seconds += seconds
        rate, done = self._images / max(self._seconds, 1e-9), self.counted
        left = timedelta(seconds=round(max(self._total - done, 0) / rate))
        text = f"{where} · {detail} · {rate:,.0f} images/s"
        if self._bar:
            self._bar.update(
                self._task, completed=done, description=text, left=f"{left} left"
            )
        elif time.monotonic() - self._last_line >= LINE_SECONDS:
            self._last_line = time.monotonic()
            share = done / max(self._total, 1)
            self.say(f"{share:4.0%} · {left} left · {text}")

    def cycle(self, run: Run, row: dict[str, Any]) -> None:
        """Prints the line of a finished cycle."""
        trials, cycles = run.config.trials, run.config.cycles
        member = f" || {run.folder.rpartition('/')[0]}" if self._several else ""
        leak = " [leaky: weights carried over between trials]" if row["leaky"] else ""
        self.say(
            f"Trial {row['trial']}/{trials} || Cycle {row['cycle']}/{cycles} || "
            f"Labelled Data {row['labeled']}: {_accuracy(row)}{member}{leak}"
        )

    def already_done(self, run: Run, rows: list[dict[str, Any]]) -> None:
        """Prints what a run ended with that an earlier start has finished."""
        last = rows[-1]
        self.say(
            f"already done: {run.folder} · {last['labeled']} labels · {_accuracy(last)}"
        )

    def table(self, title: str, rows: list[dict[str, Any]]) -> None:
        """Prints the cycles of one run, in as many columns as fit."""
        cells = {
            name: [_number(row[field], form) for row in rows]
            for name, (field, form) in _COLUMNS.items()
        }
        widths = {n: max(map(len, [n, *c])) + 3 for n, c in cells.items()}
        shown, room = set(), self._out.width
        for name in sorted(_COLUMNS, key=_LEAST.__contains__):
            room -= widths[name]
            if room < 0:
                break
            shown.add(name)
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
        table.show_edge, table.pad_edge = False, True
        names = [name for name in cells if name in shown]
        for name in names:
            table.add_column(name, justify="right", no_wrap=True)
        for row in zip(*(cells[name] for name in names), strict=True):
            table.add_row(*row)
        self._out.print(table)

    def paths(self, paths: list[Path]) -> None:
        """Prints which files were written."""
        for path in paths:
            self.say(f"wrote {path}")


def _accuracy(row: dict[str, Any]) -> str:
    """The accuracy of a cycle, and of which images; older rows are of the test set."""
    images = row.get("evaluated_on", "test").capitalize()
    return f"{images} Accuracy {100 * row['test_accuracy']:.2f}%"


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)
