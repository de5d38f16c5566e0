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
