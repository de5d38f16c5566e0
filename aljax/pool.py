"""Which images of the pool are labelled, in the order they were bought."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Pool:
    """An immutable record of purchases; `label` returns a new one.

    Attributes:
        size: N, images in the pool.
        labelled: `[L]` int64, indices in the order they were bought.
    """

    size: int
    labelled: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def unlabelled(self) -> np.ndarray:
        """`[N - L]` int64, ascending."""
        return np.setdiff1d(np.arange(self.size, dtype=np.int64), self.labelled)

    def label(self, indices: np.ndarray) -> "Pool":
        """Buys the labels of `indices` `[K]`; ValueError if one cannot be bought."""
        indices = np.asarray(indices, np.int64)
        if len(np.unique(indices)) < len(indices):
            raise ValueError("an image is bought twice in one query")
        if len(indices) and not 0 <= indices.min() <= indices.max() < self.size:
            raise ValueError(f"an index is outside the pool of {self.size} images")
        if np.isin(indices, self.labelled).any():
            raise ValueError("an image that is already labelled is bought again")
        return Pool(self.size, np.concatenate([self.labelled, indices]))
