"""Several processes as one run: how they join, agree, and share what one has read.

Every process runs the same program on its own devices. Only the first one touches the
run folder; what it reads there, or what goes wrong, the others hear from it, so that
all take the same way, and no file but the images need be visible to all.
"""

import contextlib
import functools
import importlib.util
import os
import pickle
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NoReturn

import jax
import numpy as np
from absl import flags
from jax.experimental import multihost_utils

from aljax.machine.terminal import complain

JOIN_SECONDS = 300  # for all processes to come
SILENT_SECONDS = 15  # of them, before it is said what is being waited for
HEARTBEAT_SECONDS = 60  # a process that is silent for so long is taken for dead
LEAVE_SECONDS = 1  # that the first process gives the others to leave before it
# Whether this process, the first, is doing something for all of them.
_for_all = SimpleNamespace(acting=False)
_HEADER_BYTES, _CHUNK_BYTES = 2**12, 2**22
# Where those that start processes say how many there are, and which one this is.
_LAUNCHERS = (
    ("SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID"),  # srun
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),  # mpirun
)
# How an error of a program begins: with the name of a status.
_STATUSES = """
    CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS
    PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE
    UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED
""".split()


def define_flags(values: flags.FlagValues) -> None:
    """Defines the flags that say which processes form a run."""
    flags.DEFINE_string(
        "coordinator",
        None,
        "HOST:PORT on the first process's machine, where the processes of one run meet "
        "(default: what srun, mpirun or Kubernetes says).",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "processes",
        None,
        "How many processes form the run; 1: this one alone, whoever started it.",
        flag_values=values,
    )
    what = "Which of them this is, from 0."
    flags.DEFINE_integer("process", None, what, flag_values=values)


def launched() -> tuple[int, int] | None:
    """How many processes `srun` or `mpirun` has started, and which one this is."""
    for present, count, index in _LAUNCHERS:
        if present in os.environ and int(os.environ[count]) > 1:
            return int(os.environ[count]), int(os.environ[index])
    return None


def _in_kubernetes() -> bool:
    """Whether this is a pod of an indexed job that JAX can ask Kubernetes about."""
    names = ("KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX")
    inside = all(name in os.environ for name in names)
    return inside and importlib.util.find_spec("kubernetes") is not None


def _check(coordinator: str | None, count: int | None, index: int | None) -> None:
    if coordinator is None or count is None or index is None:
        raise ValueError(
            f"--coordinator={coordinator} --processes={count} --process={index}: give "
            "all three, or none of them under srun, mpirun or Kubernetes."
        )
    port = re.fullmatch(r".+:(\d+)", coordinator)
    if not port or not 1 <= int(port[1]) <= 65535:
        form = "write HOST:PORT, with a port of 1 to 65535"
        raise ValueError(f"--coordinator={coordinator}: {form}.")
    if count < 1:
        raise ValueError(
            f"--processes={count}: a run has at least 1; give their number."
        )
    if not 0 <= index < count:
        raise ValueError(f"--process={index}: choose 0 to {count - 1}, of --processes.")


def _local_devices() -> list[int] | None:
    """Which of the GPUs it is shown a process of `srun` or `mpirun` takes; None: all.

    A lone process of a machine takes all of them, others one each.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    tasks = os.environ.get("SLURM_STEP_TASKS_PER_NODE", "")
    alone = re.fullmatch(r"1(\(x\d+\))?", tasks)
    alone = alone or os.environ.get("OMPI_COMM_WORLD_LOCAL_SIZE") == "1"
    if alone or len(visible) == 1:
        return list(range(len(visible))) if visible[0] else None
    number = os.environ.get("SLURM_LOCALID") or os.environ.get(
        "OMPI_COMM_WORLD_LOCAL_RANK"
    )
    return [int(number)] if number else None


@contextlib.contextmanager
def _telling_of_a_long_wait() -> Iterator[None]:
    """Says what is being waited for: JAX does not, and ends the process at last."""
    waiting = threading.Timer(
        SILENT_SECONDS,
        complain,
        [
            "still waiting for the other processes of this run. Check that each was "
            "started and that all have the same --coordinator; without them JAX ends "
            f"this one {JOIN_SECONDS} s after its start, with status 134."
        ],
    )
    waiting.daemon = True
    waiting.start()
    try:
        yield
    finally:
        waiting.cancel()


def join(coordinator: str | None, count: int | None, index: int | None) -> None:
    """Makes this process one of several, if flags or a launcher say that it is.

    Args:
        coordinator: HOST:PORT, or None to ask the launcher.
        count: of processes, or None.
        index: of this process, or None.

    Raises:
        ValueError: the flags are wrong or incomplete.
    """
    started = launched()
    if (coordinator, count, index) == (None, 1, None):
        return
    if started and count is None and index is None:
        count, index = started
    elif (coordinator, count, index) != (None,) * 3:
        _check(coordinator, count, index)
    elif not _in_kubernetes():
        return
    # Its handler of SIGTERM would take the place of ours, which all processes heed.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        with _telling_of_a_long_wait():
            jax.distributed.initialize(
                coordinator,
                count,
                index,
                _local_devices() if started else None,
                cluster_detection_method=None if coordinator is None else "deactivate",
                initialization_timeout=JOIN_SECONDS,
                heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
                shutdown_timeout_seconds=HEARTBEAT_SECONDS,
            )
    except ValueError as error:
        raise ValueError(
            f"--coordinator: where the processes meet could not be found out ({error}) "
            "Give --coordinator=HOST:PORT, with a free port of the first one's machine."
        ) from error


def count() -> int:
    """How many processes form this run; does not take up any device."""
    return jax.process_count() if jax.distributed.is_initialized() else 1


def first() -> bool:
    """Whether this is the first process, the one that reads and writes files."""
    return not jax.distributed.is_initialized() or jax.process_index() == 0


def largest(*values: float) -> list[float]:
    """The largest that any process has of each value, float32: all decide alike."""
    if count() == 1:
        return list(values)
    everyone = multihost_utils.process_allgather(np.array(values, np.float32))
    return everyone.max(0).tolist()


def by_first(f: Callable, *args) -> Any:
    """Lets the first process call `f`; all get its result, or raise its exception.

    Whatever `f` in turn asks the first process to do is done at once: it is there.
    """
    if count() == 1 or _for_all.acting:
        return f(*args)
    answer = None
    if first():
        _for_all.acting = True
        try:
            answer = f(*args), None
        # Whatever it is, the others must not wait for an answer.
        except Exception as error:  # noqa: BLE001
            answer = None, error
        finally:
            _for_all.acting = False
    result, error = pickle.loads(_broadcast(pickle.dumps(answer)))
    if error is not None:
        error.told_by_first = not first()
        raise error
    return result


def done_by_first(f: Callable) -> Callable:
    """Makes of a function, or a method, one that `by_first` calls."""

    @functools.wraps(f)
    def shared(*args, **options):
        return by_first(functools.partial(f, *args, **options))

    return shared


def check_same(what: Any, sentence: str) -> None:
    """Checks that this process has what the first one has.

    Raises:
        ValueError: `sentence`, of this process.
    """
    if by_first(lambda: what) != what:
        raise ValueError(f"{whoami()} {sentence}")


def told_by_first(error: Exception) -> bool:
    """Whether an exception is the first process's, which tells of it."""
    return getattr(error, "told_by_first", False)


def whoami() -> str:
    """This process among those of its run, in words."""
    return f"process {jax.process_index()} of {jax.process_count()}"


def program_failed(error: Exception) -> bool:
    """Whether an exception is of a compiled program, not of what was asked for.

    Where a call of `jax.jit` waits for its program, as with collectives on a CPU, the
    error is a ValueError, which only its text tells from others.
    """
    if isinstance(error, jax.errors.JaxRuntimeError):
        return True
    status = str(error).split(": ", 1)[0]
    return isinstance(error, ValueError) and status in _STATUSES


def describe_failure(error: Exception) -> str:
    """What to say where one of several processes cannot go on."""
    if not program_failed(error):
        traceback.print_exception(error)
    reason = (str(error).splitlines() or [""])[0][:200]
    return (
        f"{whoami()} failed or has lost the others ({type(error).__name__}: {reason}). "
        "What was saved is kept; start all of them again to go on."
    )


def leave(status: int) -> NoReturn:
    """Ends this process, without waiting for what other processes or threads do.

    At its ordinary end JAX would wait for the other processes of the run, while they
    wait for their next message. Where all leave, the first goes last, for JAX aborts
    those that outlive it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if jax.distributed.is_initialized() and first():
        time.sleep(LEAVE_SECONDS)
    os._exit(status)


def _broadcast(data: bytes) -> bytes:
    """The first process's bytes, in messages of two sizes, so that little compiles."""
    header = len(data).to_bytes(8, "big") + data
    received = _message(header, _HEADER_BYTES)
    size, parts = int.from_bytes(received[:8], "big"), [received[8:]]
    for start in range(_HEADER_BYTES - 8, size, _CHUNK_BYTES):
        parts.append(_message(data[start:], _CHUNK_BYTES))
    return b"".join(parts)[:size]


def _message(data: bytes, size: int) -> bytes:
    content = np.frombuffer(data[:size].ljust(size, b"\0"), np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(content)).tobytes()
