"""Official archives of CIFAR and Fashion-MNIST, prepared without TensorFlow.

The builders of tensorflow-datasets unpack and encode with TensorFlow. The ones here
keep their names, versions, features and keys, and only read the archives by other
means, so that what they write is what `tfds.data_source("cifar10")` reads.
"""

import gzip
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.image_classification import cifar, mnist

CIFAR_SHAPE = (3, 32, 32)  # colour planes, rows, columns

Examples = Iterator[tuple[int, dict]]  # (key, features)


class _CifarArchive:
    """CIFAR's binary version: records of one or two label bytes and an image."""

    @property
    def urls(self) -> tuple[str, ...]:
        return (self._cifar_info.url,)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        info = self._cifar_info
        files = _read_members(dl_manager.download(info.url), info.prefix)
        for key, name in zip(info.label_keys, info.label_files, strict=True):
            self.info.features[key].names = files[name].decode().split()
        return {
            "train": self._generate_examples(
                "train_", b"".join(files[name] for name in info.train_files)
            ),
            "test": self._generate_examples(
                "test_", b"".join(files[name] for name in info.test_files)
            ),
        }

    def _generate_examples(self, prefix: str, records: bytes) -> Examples:
        label_keys = self._cifar_info.label_keys
        size = len(label_keys) + int(np.prod(CIFAR_SHAPE))
        rows = np.frombuffer(records, np.uint8).reshape(-1, size)
        for index, row in enumerate(rows):
            planes = row[len(label_keys) :].reshape(CIFAR_SHAPE)
            features = {
                key: int(label) for key, label in zip(label_keys, row, strict=False)
            }
            features["id"] = f"{prefix}{index:05d}"
            features["image"] = Image.fromarray(planes.transpose(1, 2, 0).copy())
            yield index, features


def _read_members(archive: Path, prefix: str) -> dict[str, bytes]:
    """The files under `prefix` of a .tar.gz, by name, in one pass over it."""
    with tarfile.open(archive, "r|gz") as tar:
        return {
            member.name.removeprefix(prefix): tar.extractfile(member).read()
            for member in tar
            if member.isfile() and member.name.startswith(prefix)
        }


class _IdxArchive:
    """Fashion-MNIST's four gzipped idx files."""

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(
            f"{self.URL}{stem}-{kind}-ubyte.gz"
            for stem in ("train", "t10k")
            for kind in ("images-idx3", "labels-idx1")
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        paths = [dl_manager.download(url) for url in self.urls]
        return {
            "train": self._generate_examples(*paths[:2]),
            "test": self._generate_examples(*paths[2:]),
        }

    def _generate_examples(self, images: Path, labels: Path) -> Examples:
        pairs = zip(read_idx(images), read_idx(labels), strict=True)
        for index, (image, label) in enumerate(pairs):
            yield index, {"image": Image.fromarray(image), "label": int(label)}


def read_idx(path: Path) -> np.ndarray:
    """The array in a gzipped idx file of unsigned bytes, uint8 of any shape.

    Format: http://yann.lecun.com/exdb/mnist: two zero bytes, 8 for unsigned bytes, the
    number of dimensions, each dimension as a big-endian int32, the bytes.
    """
    with gzip.open(path) as file:
        raw = file.read()
    shape = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


# Unregistered, so that tfds's own classes keep the names.
with tfds.core.registered.skip_registration():

    class Cifar10(_CifarArchive, cifar.Cifar10):
        """CIFAR-10."""

    class Cifar100(_CifarArchive, cifar.Cifar100):
        """CIFAR-100: `label` is the fine one of 100, `coarse_label` one of 20."""

    class FashionMNIST(_IdxArchive, mnist.FashionMNIST):
        """Fashion-MNIST."""


BUILDERS = {
    "cifar10": Cifar10,
    "cifar100": Cifar100,
    "fashion_mnist": FashionMNIST,
}
