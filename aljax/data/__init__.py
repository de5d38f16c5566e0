"""Datasets: a name gives a pool and a test set as arrays, whatever they come from.

The order of the pool is stable for ever: index 17 means the same image next year.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from absl import logging

from aljax.data import embedded
from aljax.data.names import some
from aljax.data.splits import Splits, check
from aljax.lookup import lookup

MULTIPLE = 32  # height and width are padded to a multiple of this, in pixels
CHUNK = 1 << 22  # pixels whose values are counted at a time


@dataclass(frozen=True, eq=False)
class Dataset:
    """A pool of labelled images and the test set which goes with it."""

    name: str
    train_images: np.ndarray  # uint8 [N, H, W, C], the pool, zero-padded
    train_labels: np.ndarray  # int32 [N]
    test_images: np.ndarray  # uint8 [N, H, W, C], zero-padded
    test_labels: np.ndarray  # int32 [N]
    classes: tuple[str, ...]  # [K]
    mean: tuple[float, ...]  # [C] of the pool, pixels in 0..1, before padding
    std: tuple[
        float, ...
    ]  # [C] population std, likewise; 1 where a channel is constant

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the shapes and bytes of the four arrays and of the class names."""
        digest = hashlib.sha256(repr(self.classes).encode())
        for array in (
            self.train_images,
            self.train_labels,
            self.test_images,
            self.test_labels,
        ):
            digest.update(repr(array.shape).encode())
            digest.update(array)
        return digest.hexdigest()

    @cached_property
    def untested(self) -> tuple[str, ...]:
        """The classes without a test image, of which a test can say nothing.

        Their recall is unknown. Their F1 counts as 0 in the macro mean, which stays
        below 1 even for a perfect network: all classes count, as in scikit-learn's
        `f1_score(labels=range(K), average="macro", zero_division=0)`.
        """
        counts = np.bincount(self.test_labels, minlength=len(self.classes))
        return tuple(self.classes[label] for label in np.flatnonzero(counts == 0))


@dataclass
class Data:
    """Where the images come from: `config.data`."""

    name: str = "fashion_mnist_mini"
    path: str | None = None  # image_folder: a directory or a zip
    image_size: int | None = None  # image_folder: resize and centre-crop to this


@dataclass(frozen=True)
class Options:
    """What a user can say about a dataset beside its name."""

    path: str | None = None  # --config.data.path
    image_size: int | None = None  # --config.data.image_size, pixels
    data_dir: str | None = None  # --data_dir, the folder of tensorflow-datasets


@dataclass(frozen=True)
class Source:
    """Where a dataset comes from."""

    load: Callable[[Options], Splits]
    pool_size: Callable[[Options], int]  # decodes nothing
    takes: frozenset[str] = frozenset()  # fields of Options.path and image_size it uses


def load(data: Data, data_dir: str | None = None) -> Dataset:
    """Load a dataset of `DATASETS`.

    Args:
        data: its name, and for an `image_folder` its folder or zip, and the pixels to
            which images are resized and cropped, None to leave them as they are.
        data_dir: folder of tensorflow-datasets; None for its default.

    Returns:
        contiguous arrays, images zero-padded on all sides to the next multiple of 32.
        Classes without a test image are `Dataset.untested`, and a warning names them.

    Raises:
        ValueError: a wrong name, option, folder or archive; one sentence for the user.
    """
    options = Options(data.path, data.image_size, data_dir)
    splits = _source(data.name, options).load(options)
    check(splits, data.name)
    mean, std = channel_statistics(splits.train_images)
    dataset = Dataset(
        name=data.name,
        train_images=pad(splits.train_images),
        train_labels=np.ascontiguousarray(splits.train_labels),
        test_images=pad(splits.test_images),
        test_labels=np.ascontiguousarray(splits.test_labels),
        classes=splits.classes,
        mean=mean,
        std=std,
    )
    _warn_of_untested(dataset)
    return dataset


def _warn_of_untested(dataset: Dataset) -> None:
    """Say of which classes no test can say anything."""
    if dataset.untested:
        logging.warning(
            "The test set has no image of %d of %d classes (%s): their accuracy is "
            "unknown, and their F1 counts as 0 in f1_macro.",
            len(dataset.untested),
            len(dataset.classes),
            some(dataset.untested),
        )


def pool_size(data: Data, data_dir: str | None = None) -> int:
    """Number of images in the pool of a dataset, found without decoding any.

    Arguments and errors are those of `load`, less what only decoding can find.
    """
    options = Options(data.path, data.image_size, data_dir)
    return _source(data.name, options).pool_size(options)


def _source(name: str, options: Options) -> Source:
    """The source called `name`, which takes the options that are set."""
    source = lookup(DATASETS, "--config.data.name", name)
    for field in ("path", "image_size"):
        value = getattr(options, field)
        if value is not None and field not in source.takes:
            takers = [other for other, its in DATASETS.items() if field in its.takes]
            raise ValueError(
                f"--config.data.{field}: {value!r} is set, but {name} takes none; "
                f"leave it out or set --config.data.name={' or '.join(takers)}."
            )
    return source


def pad(images: np.ndarray) -> np.ndarray:
    """Images [N, H, W, C] with zeros on all sides up to multiples of 32, contiguous.

    An odd number of rows or columns leaves the extra one at the bottom or right.
    """
    extra = [-size % MULTIPLE for size in images.shape[1:3]]
    if not any(extra):
        return np.ascontiguousarray(images)
    sides = [(pixels // 2, pixels - pixels // 2) for pixels in extra]
    return np.pad(images, [(0, 0), *sides, (0, 0)])


def channel_statistics(
    images: np.ndarray,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and population standard deviation of each channel, pixels scaled to 0..1.

    Args:
        images: uint8 [N, H, W, C].

    Returns:
        mean [C] and std [C], from exact counts of the 256 values; a constant channel,
        by whose deviation nothing can be divided, has std 1.
    """
    counts = np.zeros((images.shape[-1], 256), np.int64)
    step = max(1, CHUNK // (images.shape[1] * images.shape[2]))
    for start in range(0, len(images), step):
        chunk = images[start : start + step]
        for channel, count in enumerate(counts):
            count += np.bincount(chunk[..., channel].ravel(), minlength=256)
    values = np.arange(256) / 255
    weights = counts / counts.sum(axis=1, keepdims=True)
    mean = weights @ values
    std = np.sqrt((weights * (values - mean[:, None]) ** 2).sum(axis=1))
    std[(counts > 0).sum(axis=1) == 1] = 1.0
    return tuple(mean.tolist()), tuple(std.tolist())


def _from_tfds(name: str) -> Source:
    """A dataset of tensorflow-datasets, which takes half a second to import."""

    def load(options: Options) -> Splits:
        from aljax.data import prepared

        return prepared.load(name, options.data_dir)

    def pool_size(options: Options) -> int:
        from aljax.data import prepared

        return prepared.pool_size(name)

    return Source(load, pool_size)


def _from_folder() -> Source:
    """Images of the user's own; Pillow, which decodes them, is needed for no others."""

    def load(options: Options) -> Splits:
        from aljax.data import image_folder

        return image_folder.load(options.path, options.image_size)

    def pool_size(options: Options) -> int:
        from aljax.data import image_folder

        return image_folder.pool_size(options.path, options.image_size)

    return Source(load, pool_size, takes=frozenset({"path", "image_size"}))


DATASETS: dict[str, Source] = {
    "cifar10": _from_tfds("cifar10"),
    "cifar100": _from_tfds("cifar100"),
    "fashion_mnist": _from_tfds("fashion_mnist"),
    "image_folder": _from_folder(),
    "fashion_mnist_mini": Source(
        load=lambda options: embedded.load(),
        pool_size=lambda options: embedded.POOL_SIZE,
    ),
}
