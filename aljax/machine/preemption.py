"""Being asked to stop, by a signal or by the end of a parent: work saves and leaves."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from aljax.machine.terminal import complain

PREEMPTED = 75  # exit status of a process that saved its state and stopped
PARENT = "ALJAX_PARENT"  # the process whose end asks this one to stop
INTERRUPTED = 130  # of one that was interrupted twice, as shells count it
_WATCH_SECONDS = 1.0
SIGNALS = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


class Preempted(Exception):
    """The machine is wanted back; the state is saved, the same command goes on."""


class Preemption:
    """Remembers that this process was asked to stop.

    Work is done in calls of bounded length; between two of them the loop asks
    `requested`, saves and leaves. Python hears of a signal only between two of its own
    instructions, and compiling is one that may take a minute: a thread hears of it at
    once, says what happens, and ends the process at a second Ctrl-C.

    Args:
        ends_process: whether the second Ctrl-C does so; elsewhere, as in a notebook, it
            is a KeyboardInterrupt.
    """

    def __init__(self, ends_process: bool = True):
        self.requested = False
        self._ends_process, self._interrupts = ends_process, 0
        self._idle = False

    def install(self) -> dict[int, Any]:
        """Listens to SIGNALS and for the end of PARENT; returns who listened before.

        SIGHUP stays ignored where it is, as under nohup.
        """
        before = {}
        for number in SIGNALS:
            ignored = signal.getsignal(number) == signal.SIG_IGN
            if number != signal.SIGHUP or not ignored:
                before[number] = signal.signal(number, self._receive)
        hear, tell = socket.socketpair()
        tell.setblocking(False)
        self._tell, self._wakeup = tell, signal.set_wakeup_fd(tell.fileno())
        threading.Thread(target=self._listen, args=(hear,), daemon=True).start()
        if parent := os.environ.pop(PARENT, None):  # it is no parent of children
            threading.Thread(target=self._watch, args=(parent,), daemon=True).start()
        return before

    def uninstall(self, before: dict[int, Any]) -> None:
        """Gives the signals back to what `install` found listening."""
        signal.set_wakeup_fd(self._wakeup)
        self._tell.close()  # which ends the thread
        for number, handler in before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def nothing_to_save(self) -> Iterator[None]:
        """Meanwhile being asked to stop ends the process, in whatever call it is."""
        self._idle = self._ends_process
        try:
            yield
        finally:
            self._idle = False

    def check(self) -> None:
        """Raises Preempted if this process was asked to stop; nothing is saved."""
        if self.requested:
            raise Preempted

    def _watch(self, parent: str) -> None:
        while str(os.getppid()) == parent:
            time.sleep(_WATCH_SECONDS)
        self.requested = True

    def _receive(self, number, frame) -> None:
        again, self.requested = self._interrupts > 1, True
        if again and number == signal.SIGINT and not self._ends_process:
            raise KeyboardInterrupt

    def _listen(self, hear: socket.socket) -> None:
        while number := hear.recv(1):
            if number[0] not in SIGNALS:
                continue
            self.requested = True
            if self._idle:
                complain("stopped before it began. Run the same command to go on.")
                os._exit(PREEMPTED)
            if number[0] != signal.SIGINT:
                continue
            self._interrupts += 1
            if self._interrupts == 1:
                complain(
                    "stopping, with the state saved, as soon as the step or the "
                    "compiling under way ends; Ctrl-C again ends at once."
                )
            elif self._ends_process:
                complain("ended at once; run the same command to go on.")
                os._exit(INTERRUPTED)
