"""Splits: a pool and a test set as decoded."""

from typing import NamedTuple

import numpy as np


class Splits(NamedTuple):
    """What every source gives: images as they are, not yet padded."""

    train_images: np.ndarray  # uint8 [N, H, W, C], the pool
    train_labels: np.ndarray  # int32 [N]
    test_images: np.ndarray  # uint8 [N, H, W, C]
    test_labels: np.ndarray  # int32 [N]
    classes: tuple[str, ...]  # the name of each label


def check(splits: Splits, name: str) -> None:
    """Refuses what a source of somebody's own gives, if it is not as `Splits` says.

    Args:
        splits: what `name` gave.
        name: of the dataset.

    Raises:
        ValueError: names the array, and what it must be.
    """
    if len(splits.classes) < 2:
        raise ValueError(
            f"--config.data.name={name}: its classes are {len(splits.classes)}; "
            "it needs 2 or more."
        )
    shape = np.shape(splits.train_images)[1:]
    for part in ("train", "test"):
        images = np.asarray(getattr(splits, f"{part}_images"))
        labels = np.asarray(getattr(splits, f"{part}_labels"))
        said = f"--config.data.name={name}: its {part}_"
        if images.dtype != np.uint8 or images.ndim != 4 or not images.size:
            raise ValueError(
                f"{said}images are {_shown(images)}; they must be uint8 [N, H, W, C]."
            )
        if images.shape[1:] != shape:
            raise ValueError(
                f"{said}images are {_shown(images)}, but those of the pool are "
                f"[N, {', '.join(map(str, shape))}]; make them alike."
            )
        whole = np.issubdtype(labels.dtype, np.integer)
        if not whole or labels.shape != (len(images),):
            raise ValueError(
                f"{said}labels are {_shown(labels)}; they must be a whole number for "
                f"each of {len(images)} images."
            )
        least, most = int(labels.min()), int(labels.max())
        if least < 0 or most >= len(splits.classes):
            raise ValueError(
                f"{said}labels are {least} to {most}; {len(splits.classes)} classes "
                f"have the labels 0 to {len(splits.classes) - 1}."
            )


def _shown(array: np.ndarray) -> str:
    return f"{array.dtype} [{', '.join(map(str, array.shape))}]"
