"""One process at a time in a run's folder: a lock that ends with its process."""

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from absl import logging

from aljax.machine.processes import by_first

FILE = "lock.json"
PATIENCE_SECONDS = 1.0  # longer than `holder` of another process looks at a lock
# As long as a shared file system may take to give back the locks of a lost machine.
REQUEUED_PATIENCE_SECONDS = 180.0
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def locked(folder: Path, check: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Keeps others out of a folder, on all hosts that share its locks.

    Of several processes that form a run, the first one takes the lock for all.

    The kernel gives the lock back when this process ends, however it does; the file
    stays, and says who holds the lock or held it last.

    Args:
        folder: made if it is not there.
        check: called about once a second while another process has the folder; what
            it raises ends the wait.

    Raises:
        ValueError: another process has the folder.
    """
    with contextlib.ExitStack() as stack:
        by_first(lambda: _take(stack, folder, check))
        yield


def _take(stack: contextlib.ExitStack, folder: Path, check: Callable) -> None:
    """Locks a folder until the stack is left, and writes down by whom."""
    folder.mkdir(parents=True, exist_ok=True)
    file = stack.enter_context((folder / FILE).open("a+"))
    if not _acquire(file, folder, check):
        raise ValueError(
            f"{folder} is being run by {_shown(_read(file))}; wait until it ends, "
            "stop it, or give every process its own --shard or --workdir."
        )
    file.truncate(0)
    about = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    file.write(json.dumps(about) + "\n")
    file.flush()


def _acquire(file, folder: Path, check: Callable[[], None]) -> bool:
    """Locks a file, patiently enough for one that is only being looked at.

    A task that SLURM has queued again may have lost its machine, and waits longer.
    """
    requeued = os.environ.get("SLURM_RESTART_COUNT", "0") != "0"
    patience = REQUEUED_PATIENCE_SECONDS if requeued else PATIENCE_SECONDS
    deadline = time.monotonic() + patience
    if requeued and (other := holder(folder)):
        logging.warning(
            "%s is locked by %s; waiting up to %d s, since that may be a lost machine.",
            folder,
            other,
            patience,
        )
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            check()
            time.sleep(min(1.0, patience / 20))
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            logging.warning(
                "%s: this file system keeps no locks (%s); see to it that only one "
                "process runs this folder.",
                folder,
                error.strerror,
            )
            return True


def holder(folder: Path) -> str | None:
    """Which process has a folder, in words; None if none has. Writes nothing.

    Of a lock that somebody else keeps to themselves nothing is known: None, too.
    """
    try:
        file = (folder / FILE).open()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _shown(_read(file))
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
    return None


def _read(file) -> dict[str, Any]:
    file.seek(0)
    line = file.readline()
    # Empty for the instant between taking a lock and saying so.
    return json.loads(line) if line.endswith("\n") else {}


def _shown(about: dict[str, Any]) -> str:
    if not about:
        return "another process"
    return "process {process} on {host} since {started}".format(**about)
