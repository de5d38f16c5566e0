"""Cut images.npz out of Fashion-MNIST.

    python -m aljax.data.fashion_mnist_mini.cut [--source DIR] [--output FILE]

The source is the folder of Debian's package `dataset-fashion-mnist`. Of the images of
each class, taken in the order of the source, every 6th for training (1,000 of 6,000)
and every 5th for testing (200 of 1,000) is kept; the order of the source stays.
"""

import argparse
from pathlib import Path

import numpy as np

from aljax.data.archives import read_idx

SOURCE = Path("/usr/share/datasets/fashion-mnist")
OUTPUT = Path(__file__).parent / "images.npz"


def evenly_spaced(labels: np.ndarray, step: int) -> np.ndarray:
    """Sorted positions of every `step`-th image of each class."""
    kept = [np.flatnonzero(labels == label)[::step] for label in np.unique(labels)]
    return np.sort(np.concatenate(kept))


def cut(source: Path, output: Path) -> None:
    """Write the kept images and labels of both parts, uint8, to one .npz."""
    arrays = {}
    for split, stem, step in (("train", "train", 6), ("test", "t10k", 5)):
        images = read_idx(source / f"{stem}-images-idx3-ubyte.gz")
        labels = read_idx(source / f"{stem}-labels-idx1-ubyte.gz")
        kept = evenly_spaced(labels, step)
        arrays[f"{split}_images"] = images[kept]
        arrays[f"{split}_labels"] = labels[kept]
    np.savez_compressed(output, **arrays)


def main() -> None:
    parser = argparse.ArgumentParser(description="Cut images.npz out of Fashion-MNIST.")
    parser.add_argument("--source", type=Path, default=SOURCE)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    cut(arguments.source, arguments.output)


if __name__ == "__main__":
    main()
