"""The images that runs bought from, where this machine has them; nothing is fetched."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging

from aljax.report.record import Record

if TYPE_CHECKING:
    from aljax.data import Source

# The images `[N, H, W, C]` uint8 of a run's pool, or None where they cannot be had.
Images = Callable[[Record], np.ndarray | None]
EMBEDDED = "fashion_mnist_mini"


def stored_images(data_dir: str | None = None) -> Images:
    """A function from a run to the images of its pool.

    Args:
        data_dir: folder of tensorflow-datasets; None for its default.

    Returns:
        gives images `[N, H, W, C]` uint8, or None where they are not here, or are
        others than those that the run recorded. What it has read last it keeps.
    """
    kept: dict[tuple, np.ndarray | None] = {}

    def images(record: Record) -> np.ndarray | None:
        about = {
            name: record.config.get(f"data.{name}")
            for name in ("name", "path", "image_size")
        }
        fingerprint = record.about.get("data_fingerprint")
        key = (*about.values(), fingerprint)
        if key not in kept:
            kept.clear()  # one pool at a time
            kept[key] = _load(about, data_dir, fingerprint)
        return kept[key]

    return images


def _load(
    about: dict[str, Any], data_dir: str | None, fingerprint: str | None
) -> np.ndarray | None:
    """Reads a pool; None, and a line that says so, where that is not possible."""
    from aljax.data import DATASETS, Data, load
    from aljax.report.sheets import CHANNELS

    name = about["name"]
    source = DATASETS.get(name)
    if source is None or not _is_here(source, name, about["path"], data_dir):
        logging.info("the images of %s are not here; the report shows none.", name)
        return None
    try:
        dataset = load(Data(**about), data_dir)
    except (ValueError, OSError) as error:
        logging.warning("no images in the report: %s", error)
        return None
    if fingerprint is not None and dataset.fingerprint != fingerprint:
        logging.warning(
            "the images of %s here are not those of the runs; the report shows none.",
            name,
        )
        return None
    channels = dataset.train_images.shape[3]
    if channels not in CHANNELS:
        logging.info("images of %d channels are not shown in the report.", channels)
        return None
    return dataset.train_images


def _is_here(
    source: "Source", name: str, path: str | None, data_dir: str | None
) -> bool:
    """Whether a dataset can be read without a network."""
    if name == EMBEDDED:
        return True
    if "path" in source.takes:
        return path is not None and Path(path).exists()
    from aljax.data.archives import BUILDERS

    if name not in BUILDERS:
        return False  # one's own, which may fetch things
    root = data_dir or os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
    builder = BUILDERS[name](data_dir=Path(root).expanduser())
    return (builder.data_path / "dataset_info.json").exists()
