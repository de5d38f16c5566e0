"""Single lines for the person at the terminal: answers, and errors."""

import os
import sys


def answer(text: str) -> None:
    """Prints what was asked for; whoever reads it, as `head`, may have enough."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Python flushes at its end, and would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(text: str) -> None:
    """Prints an error as one line on standard error."""
    print(f"aljax: {text}", file=sys.stderr, flush=True)
