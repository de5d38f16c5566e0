"""Being asked to stop: signals are remembered, work saves and leaves between steps."""

import signal
from typing import Any

from absl import logging

PREEMPTED = 75  # exit status of a process that saved its state and stopped
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


class Preempted(Exception):
    """The machine is wanted back; the state is saved, the same command goes on."""


class Preemption:
    """Remembers that a signal asked this process to stop.

    Work is done in calls of bounded length; between two of them the loop asks
    `requested`, saves and leaves. A second Ctrl-C stops at once.
    """

    def __init__(self):
        self.requested = False

    def install(self) -> dict[int, Any]:
        """Listens to SIGTERM, SIGINT, SIGUSR1 and SIGUSR2; returns who did before."""
        return {number: signal.signal(number, self._receive) for number in SIGNALS}

    def uninstall(self, before: dict[int, Any]) -> None:
        """Gives the signals back to what `install` found listening."""
        for number, handler in before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raises Preempted if this process was asked to stop; nothing is saved."""
        if self.requested:
            raise Preempted

    def _receive(self, number, frame) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
        logging.info("%s: saving and stopping.", signal.Signals(number).name)
