"""Decoded images on disk, so that the next load need not decode them.

A file holds the splits of one source, and a key that changes when the source does. The
files of image folders lie together in $XDG_CACHE_HOME/aljax or ~/.cache/aljax. There
they take 10 GB at most, or what the environment variable ALJAX_IMAGE_CACHE_GB says (0:
none are written): those whose last use is longest ago are deleted for new ones. Any
number of processes may read, write and delete at the same time.
"""

import contextlib
import hashlib
import math
import os
import time
import uuid
import zipfile
import zlib
from pathlib import Path

import numpy as np
from absl import logging

from aljax.data.splits import Splits

LIMIT = "ALJAX_IMAGE_CACHE_GB"
DEFAULT_LIMIT = "10"  # gigabytes of 1e9 bytes
PREFIX = "image_folder-"
ABANDONED = 24 * 3600  # seconds without a write after which a writer is dead

# What numpy and zipfile raise on files which are damaged or no .npz.
DAMAGED = (
    OSError,
    EOFError,
    KeyError,
    ValueError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


def read(path: Path, key: str) -> Splits | None:
    """The splits which `write` left at `path` under the same `key`, if any.

    A file with another key is out of date and counts as none; so does a damaged
    one, with a warning.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["key"]) != key:
                return None
            arrays = [file[field] for field in Splits._fields]
    except FileNotFoundError:
        return None
    except DAMAGED as error:
        logging.warning("Cache %s is unreadable, images are decoded: %s", path, error)
        return None
    with contextlib.suppress(OSError):  # a folder of others, which they look after
        os.utime(path)  # most systems do not record when a file was last read
    return Splits(*arrays[:4], classes=tuple(str(name) for name in arrays[4]))


def write(path: Path, key: str, splits: Splits) -> None:
    """Write `splits` to `path` in one step: a reader sees all of it or none.

    A path which cannot be written is a warning, since the cache only saves time.
    """
    # Unique among all processes of all machines which share the folder.
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path.parent, f"{path.name}.*.tmp")
        with part.open("xb") as file:
            np.savez(file, key=np.array(key), **splits._asdict())
        os.replace(part, path)
    except OSError as error:
        logging.warning("Images are not cached, every load decodes them: %s", error)
    finally:
        with contextlib.suppress(OSError):  # mostly it is not there any more
            part.unlink()


def remove_abandoned(folder: Path, pattern: str) -> None:
    """Delete half-written files of processes that were killed a day ago or before."""
    for path in _matching(folder, pattern):
        with contextlib.suppress(OSError):  # another process was faster
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()


def _matching(folder: Path, pattern: str) -> list[Path]:
    """Files of a folder; none where it cannot be listed, of which `write` warns."""
    try:
        return list(folder.glob(pattern))
    except OSError:
        return []


def place(source: str, image_size: int | None) -> Path | None:
    """Where the images of a folder or zip are kept, the same after they have changed.

    Args:
        source: the folder or zip.
        image_size: as for `image_folder.load`.

    Returns:
        None where there is no home folder, with a warning.
    """
    home = os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    if home.startswith("~"):
        logging.warning("Images are not cached without a home; set XDG_CACHE_HOME.")
        return None
    name = os.fsencode(os.path.realpath(os.path.expanduser(source)))
    digest = hashlib.sha256(name).hexdigest()[:32]
    return Path(home) / "aljax" / f"{PREFIX}{digest}-{image_size or 'as_is'}.npz"


def keep(path: Path, key: str, splits: Splits) -> None:
    """`write` the images of a folder or zip within the limit of all of them."""
    needed, most = sum(array.nbytes for array in splits[:4]), limit()
    if needed <= most:
        _make_room(path.parent, most - needed, path)
        write(path, key, splits)
        _make_room(path.parent, most)  # others may have written meanwhile
    elif most:
        logging.warning(
            "Images are not cached, every load decodes them: they take %.1f GB, and "
            "%s allows %.1f.",
            needed / 1e9,
            LIMIT,
            most / 1e9,
        )


def limit() -> float:
    """Bytes which the images of all image folders may take on disk.

    Raises:
        ValueError: ALJAX_IMAGE_CACHE_GB is no number.
    """
    text = os.environ.get(LIMIT) or DEFAULT_LIMIT
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = math.nan
    if not gigabytes >= 0:
        raise ValueError(
            f"{LIMIT}: {text!r} is not a number of gigabytes; give 0 for no cache of "
            "images, or more."
        )
    return gigabytes * 1e9


def _make_room(folder: Path, most: float, replaced: Path | None = None) -> None:
    """Delete files, the oldest use first, until all but `replaced` take `most`."""
    remove_abandoned(folder, f"{PREFIX}*.tmp")
    found = []
    for path in _matching(folder, f"{PREFIX}*.npz"):
        with contextlib.suppress(OSError):  # another process has deleted it
            status = path.stat()
            if path != replaced:
                found.append((status.st_mtime_ns, status.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= most:
            return
        with contextlib.suppress(OSError):
            path.unlink()
        total -= size
