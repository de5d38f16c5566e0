"""Saving a run, restoring it, and falling back to an older save."""

import contextlib
import errno
import functools
import logging as standard_logging
import os
import re
import sys
import threading
import traceback
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from aljax.learner import TrainState
from aljax.machine.processes import done_by_first
from aljax.runs.folder import Damaged

# What a full disk, or one that has gone, makes system calls say.
_LOST = ("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EROFS", "ESTALE", "EACCES", "EPERM")
# What they say of a save that was copied by half: not the disk, the save is at fault.
_INCOMPLETE = ("ENOENT", "ENOTDIR", "EISDIR")


class DiskFailed(OSError):
    """A save could not be written or read; those that there are stay as they are."""


def disk_failed(error: OSError) -> bool:
    """Whether the disk is to blame: it is full, has gone, or is somebody else's."""
    return isinstance(error, DiskFailed) or errno.errorcode.get(error.errno) in _LOST


@dataclass
class Progress:
    """How far a run is, and what its current cycle has cost so far."""

    cycle: int  # counts from 1; the last one begun
    train_seconds: float = 0.0
    query_seconds: float = 0.0
    compile_seconds: float = 0.0
    score_images_per_second: float | None = None
    queried_scores: list[float] | None = None  # of the images bought for it
    queried_predictions: list[int] | None = None  # classes, when they were bought


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds."""

    state: TrainState  # of host arrays
    labelled: np.ndarray  # [L] int64, in the order bought
    progress: Progress


def _named_arrays(state: TrainState) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in leaves
    }


def _digest(arrays: dict[str, np.ndarray]) -> int:
    crc = 0
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        header = f"{name} {array.dtype} {array.shape}".encode()
        crc = zlib.crc32(array.reshape(-1).view(np.uint8), zlib.crc32(header, crc))
    return crc


def _number(error: Exception) -> int | None:
    """The operating system's number of what went wrong; None: it was something else."""
    told = re.search(r"os_error_code='(\d+)'", str(error))
    return int(told[1]) if told else getattr(error, "errno", None)


def _reason(error: Exception) -> str:
    """Why a save failed, without the names of files that only a library knows."""
    if number := _number(error):
        return os.strerror(number)
    return (str(error).splitlines() or [""])[0][:300]


class Checkpoints:
    """The checkpoints of one run: numbered saves, of which the latest two are kept.

    A save is written aside and renamed, by a thread, from a copy on the host; a digest
    of every array is kept with it and compared on the way back. Of several processes
    all call these methods, and the first reads and writes.
    """

    def __init__(self, folder: Path):
        self._folder = folder.absolute()

    @functools.cached_property
    def _manager(self) -> ocp.CheckpointManager:
        self._folder.mkdir(parents=True, exist_ok=True)
        alone = ocp.options.MultiprocessingOptions(active_processes={0})
        options = ocp.CheckpointManagerOptions(
            max_to_keep=2, create=False, multiprocessing_options=alone
        )
        return ocp.CheckpointManager(self._folder, options=options)

    @done_by_first
    def save(self, state: TrainState, labelled: np.ndarray, progress: Progress) -> None:
        """Saves after the one before; returns once the state is copied."""
        arrays = _named_arrays(jax.device_get(state)) | {"labelled": labelled}
        meta = asdict(progress) | {"digest": _digest(arrays)}
        args = ocp.args.Composite(
            arrays=ocp.args.StandardSave(arrays), meta=ocp.args.JsonSave(meta)
        )
        with self._writing():
            tick = max(self._manager.all_steps(), default=0) + 1
            self._manager.save(tick, args=args)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turns whatever went wrong, also in the thread that writes, to DiskFailed."""
        try:
            yield
        # What a full disk raises is up to three libraries below.
        except Exception as error:  # noqa: BLE001
            reason = _reason(error)
            raise DiskFailed(f"{self._folder} cannot be written ({reason})") from error

    @done_by_first
    def restore(self, like: TrainState) -> Saved | None:
        """Reads the newest good checkpoint; says which ones it had to pass over.

        Args:
            like: a state of the same structure, shapes and dtypes (arrays or shapes).

        Returns:
            None where there is no good one.

        Raises:
            Damaged: it is good, but of another network or optimizer.
            DiskFailed: the disk does not give what may be a good one.
        """
        for tick in sorted(self._manager.all_steps(), reverse=True):
            try:
                return self._read(tick, like)
            except (Damaged, MemoryError):
                raise
            # What a damaged file raises is up to three libraries below; whatever it
            # is, this save cannot be used and the one before it may.
            except Exception as error:  # noqa: BLE001
                number = _number(error)
                if number and errno.errorcode.get(number) not in _INCOMPLETE:
                    reason = os.strerror(number)
                    failed = f"{self._folder} cannot be read ({reason})"
                    raise DiskFailed(failed) from error
                reason = (str(error).splitlines() or [""])[0][:200]
                logging.warning(
                    "checkpoint %s is damaged (%s: %s); falling back to the one before",
                    self._folder / str(tick),
                    type(error).__name__,
                    reason,
                )
        return None

    def _read(self, tick: int, like: TrainState) -> Saved:
        read = self._manager.restore(
            tick,
            args=ocp.args.Composite(
                arrays=ocp.args.StandardRestore(), meta=ocp.args.JsonRestore()
            ),
        )
        arrays = {name: np.asarray(value) for name, value in read.arrays.items()}
        meta = dict(read.meta)
        if _digest(arrays) != meta.pop("digest"):
            raise ValueError("its content does not match its digest")
        labelled = arrays.pop("labelled")
        leaves, structure = jax.tree_util.tree_flatten_with_path(like)
        names = [
            jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves
        ]
        found = {name: (x.shape, x.dtype) for name, x in arrays.items()}
        wanted = [(leaf.shape, leaf.dtype) for _, leaf in leaves]
        if not found.items() >= dict(zip(names, wanted, strict=True)).items():
            raise Damaged(
                f"{self._folder.parent} was saved with another network or optimizer "
                "than these names stand for now; bring that one back, or delete this "
                "folder to begin the run again."
            )
        state = jax.tree_util.tree_unflatten(structure, [arrays[n] for n in names])
        return Saved(state, labelled, Progress(**meta))

    @done_by_first
    def close(self) -> None:
        """Waits until the last save is on disk."""
        if "_manager" in vars(self):
            with self._writing():
                self._manager.wait_until_finished()
                self._manager.close()

    @done_by_first
    def keep_last(self) -> None:
        """Deletes all saves but the newest, once the run is finished."""
        with self._writing():
            self._manager.wait_until_finished()
            for tick in sorted(self._manager.all_steps())[:-1]:
                self._manager.delete(tick)


def quiet() -> None:
    """Keeps what the checkpoint library logs off the terminal.

    What goes wrong there is raised here too, and told in one sentence.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.set_verbosity(logging.WARNING)
    logging.get_absl_logger().addFilter(_is_ours)
    standard_logging.getLogger("asyncio").setLevel(standard_logging.CRITICAL)
    threading.excepthook = _tell_of_thread
    sys.unraisablehook = _tell_of_callback


def _is_ours(record: standard_logging.LogRecord) -> bool:
    return Path(__file__).parents[1] in Path(record.pathname).parents


def _tell_of_callback(failed: "sys.UnraisableHookArgs") -> None:
    """Tells of what nobody could catch, but of answers to a loop that has ended."""
    if str(failed.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(failed)


def _tell_of_thread(failed: threading.ExceptHookArgs) -> None:
    """Tells of a thread that failed, as Python does, but of the library's own."""
    frames = traceback.extract_tb(failed.exc_traceback)
    if not any("orbax" in Path(frame.filename).parts for frame in frames):
        threading.__excepthook__(failed)
