"""Runs of a grid side by side on one machine, each a process with its own devices.

Meant for small networks, which cannot keep eight GPUs busy: one run on each, instead of
one after the other on all of them.
"""

import itertools
import os
import queue
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from aljax.grid import Run
from aljax.launch.task import task_command
from aljax.machine.devices import usable_cores
from aljax.machine.preemption import PARENT, PREEMPTED, SIGNALS, Preempted, Preemption

_POLL_SECONDS = 0.1
# Exit statuses of a process that a signal ended before it listened to any.
_STOPPED = {status for n in SIGNALS for status in (-n, 128 + n)}
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_GPU = re.compile(r"\d+|(GPU|MIG)-.+")


@dataclass(frozen=True)
class Share:
    """What of this machine one run may use."""

    gpus: tuple[str, ...]
    cores: tuple[int, ...]

    @property
    def devices(self) -> int:
        """How many devices JAX finds there; all cores are one."""
        return len(self.gpus) or 1

    def environment(self) -> dict[str, str]:
        """Variables for a process that is to see these GPUs only."""
        return {_VISIBLE: ",".join(self.gpus)} if self.gpus else {}


def _cuda() -> bool:
    """Whether JAX would use NVIDIA's GPUs, if there are any."""
    asked = os.environ.get("JAX_PLATFORMS", "").replace("gpu", "cuda").split(",")
    plugin = any(find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))
    return plugin and asked[0] in ("", "cuda")


def _gpus() -> list[str]:
    """The GPUs that CUDA would show this process, found without taking one up."""
    if not _cuda():
        return []
    if _VISIBLE in os.environ:
        named = os.environ[_VISIBLE].split(",")
        return list(itertools.takewhile(_GPU.fullmatch, named))  # as CUDA does
    found = (path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia*"))
    # CUDA counts those that it finds: a container's nvidia4 may be its first.
    return [str(i) for i in range(sum(number.isdigit() for number in found))]


def shares(count: int, flag: str = "--runs_per_node") -> list[Share]:
    """Divides this machine evenly among `count` processes, as the flag asks.

    Raises:
        ValueError: there are fewer GPUs, or fewer cores where there is no GPU.
    """
    gpus, cores = _gpus(), usable_cores()
    kind, most = ("GPUs", len(gpus)) if gpus else ("CPU cores", len(cores))
    if not 1 <= count <= most:
        raise ValueError(
            f"{flag}={count}: this machine has {most} {kind}; choose 1 to {most}."
        )
    each = len(gpus) // count, len(cores) // count
    return [
        Share(
            tuple(gpus[i * each[0] : (i + 1) * each[0]]),
            tuple(cores[i * each[1] : (i + 1) * each[1]] or cores),
        )
        for i in range(count)
    ]


def carry_out(
    groups: list[list[Run]], shares: list[Share], argv: list[str], asked: Preemption
) -> list[str]:
    """Carries out groups of runs, as many at a time as there are shares.

    Args:
        groups: each is a process.
        shares: of this machine.
        argv: this process's command line, from which theirs are made.
        asked: if this process is asked to stop, so are all of them.

    Returns:
        Which groups failed, and how; empty if all are done.

    Raises:
        Preempted: all of them have saved their state.
    """
    waiting: queue.SimpleQueue[list[Run]] = queue.SimpleQueue()
    for group in groups:
        waiting.put(group)
    failures: list[str] = []
    unsaved: list[str] = []  # what failed when it was asked to stop
    refused: list[str] = []  # why processes could not be started

    def work(share):
        if hasattr(os, "sched_setaffinity"):  # macOS has none
            # Of this thread alone, and of the processes that it starts.
            os.sched_setaffinity(0, share.cores)
        while not asked.requested:
            try:
                group = waiting.get_nowait()
            except queue.Empty:
                return
            first = group[0]
            # Alone, even where srun or mpirun has started this process.
            command = [*task_command(argv), "--processes=1", "--noreport"]
            command.append(f"--only={first.folder}")
            environment = os.environ | share.environment() | {PARENT: str(os.getpid())}
            try:
                process = subprocess.Popen(command, env=environment)
            except OSError as error:  # others may have room for it
                refused.append(str(error))
                waiting.put(group)
                return
            status = _wait(process, asked)
            if status == PREEMPTED:
                asked.requested = True
            elif status and not (asked.requested and status in _STOPPED):
                told = f"{first.folder}: its process ended with {status}."
                (unsaved if asked.requested else failures).append(told)

    with ThreadPoolExecutor(len(shares)) as threads:
        list(threads.map(work, shares))  # raises what went wrong in a thread
    if asked.requested and not unsaved:
        raise Preempted
    while refused and not waiting.empty():
        first = waiting.get()[0]
        failures.append(f"{first.folder}: no process for it ({refused[0]}).")
    return failures + unsaved


def _wait(process: subprocess.Popen, asked: Preemption) -> int:
    """Waits for a process, asking it to stop when this one is."""
    told = False
    while process.poll() is None:
        if asked.requested and not told:
            process.send_signal(signal.SIGTERM)
            told = True
        time.sleep(_POLL_SECONDS)
    return process.returncode
