"""Splits: a pool and a test set as decoded, and the file which caches them."""

import contextlib
import os
import uuid
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging

# What numpy and zipfile raise on files which are cut short or no .npz.
DAMAGED = (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error)


class Splits(NamedTuple):
    """What every source gives: images as they are, not yet padded."""

    train_images: np.ndarray  # uint8 [N, H, W, C], the pool
    train_labels: np.ndarray  # int32 [N]
    test_images: np.ndarray  # uint8 [N, H, W, C]
    test_labels: np.ndarray  # int32 [N]
    classes: tuple[str, ...]  # the name of each label


def read_cache(path: Path, key: str) -> Splits | None:
    """The splits which `write_cache` left at `path` under the same `key`, if any.

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
    return Splits(*arrays[:4], classes=tuple(str(name) for name in arrays[4]))


def write_cache(path: Path, key: str, splits: Splits) -> None:
    """Write `splits` to `path` in one step: a reader sees all of it or none.

    A path which cannot be written is a warning, since the cache only saves time.
    """
    # Unique among all processes of all machines which share the folder.
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as file:
            np.savez(file, key=np.array(key), **splits._asdict())
        os.replace(part, path)
    except OSError as error:
        logging.warning("Images are not cached, every load decodes them: %s", error)
    finally:
        with contextlib.suppress(OSError):  # mostly it is not there any more
            part.unlink()
