"""What the terminal is given: answers and complaints, also where nobody reads."""

import io
import os
import sys


class Output(io.TextIOBase):
    """Standard output that may fail: said once, and then work goes on without it.

    Whoever reads a pipe, as `head`, may have enough, and the disk under a file may be
    full: neither is a reason to end an experiment.
    """

    def __init__(self, stream: io.TextIOBase):
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        return self._stream.encoding

    def _give_up(self, error: OSError) -> None:
        if not isinstance(error, BrokenPipeError):
            complain(f"standard output cannot be written ({error.strerror}).")
        # What is still buffered would fail again, at the latest when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def open_streams() -> None:
    """Makes standard output and error safe to write to, closed ones included."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    if not isinstance(sys.stdout, Output):
        sys.stdout = Output(sys.stdout)


def answer(text: str) -> None:
    """Prints what was asked for."""
    print(text, flush=True)


def complain(text: str) -> None:
    """Prints an error as one line on standard error, if anybody listens there."""
    try:
        print(f"aljax: {text}", file=sys.stderr, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
