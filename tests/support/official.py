"""Archives in the official formats, built from the embedded images."""

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from tensorflow_datasets.core.download import checksums

from aljax import data
from aljax.data import archives, embedded

TRAIN, TEST = 55, 13
CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck".split()
FINE = [f"fine_{label}" for label in range(100)]
COARSE = [f"coarse_{label}" for label in range(20)]


def images(count: int, channels: int) -> np.ndarray:
    """Real images [count, 28 or 32, ., channels], each channel other than the next."""
    grey = embedded.load().train_images[:count]
    if channels == 1:
        return grey[..., 0]
    padded = data.pad(grey)
    return np.concatenate([padded, 255 - padded, padded // 2], axis=-1)


def labels(count: int, classes: int) -> np.ndarray:
    return (np.arange(count) * 7 % classes).astype(np.uint8)


def tar_gz(prefix: str, files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        folder = tarfile.TarInfo(prefix)
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, body in files.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return content.getvalue()


def cifar_records(pixels: np.ndarray, *label_bytes: np.ndarray) -> bytes:
    planes = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
    return np.concatenate([*(b[:, None] for b in label_bytes), planes], 1).tobytes()


def cifar10_archive() -> dict[str, bytes]:
    pixels, truth = images(TRAIN + TEST, 3), labels(TRAIN + TEST, 10)
    step = TRAIN // 5
    # test_batch first: the order inside the archive means nothing.
    files = {"test_batch.bin": cifar_records(pixels[TRAIN:], truth[TRAIN:])}
    for batch in range(5):
        part = slice(batch * step, (batch + 1) * step)
        files[f"data_batch_{batch + 1}.bin"] = cifar_records(pixels[part], truth[part])
    files["batches.meta.txt"] = ("\n".join(CIFAR10) + "\n\n").encode()
    return {"cifar-10-binary.tar.gz": tar_gz("cifar-10-batches-bin/", files)}


def cifar100_archive() -> dict[str, bytes]:
    pixels, fine = images(TRAIN + TEST, 3), labels(TRAIN + TEST, 100)
    records = [
        cifar_records(pixels[part], fine[part] // 5, fine[part])
        for part in (slice(TRAIN), slice(TRAIN, None))
    ]
    files = {
        "train.bin": records[0],
        "test.bin": records[1],
        "fine_label_names.txt": ("\n".join(FINE) + "\n").encode(),
        "coarse_label_names.txt": ("\n".join(COARSE) + "\n").encode(),
    }
    return {"cifar-100-binary.tar.gz": tar_gz("cifar-100-binary/", files)}


def idx_gz(array: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes())


def fashion_mnist_archive() -> dict[str, bytes]:
    pixels, truth = images(TRAIN + TEST, 1), labels(TRAIN + TEST, 10)
    pixels[1], truth[1] = pixels[0], truth[0] + 1  # the same image twice
    return {
        "train-images-idx3-ubyte.gz": idx_gz(pixels[:TRAIN]),
        "train-labels-idx1-ubyte.gz": idx_gz(truth[:TRAIN]),
        "t10k-images-idx3-ubyte.gz": idx_gz(pixels[TRAIN:]),
        "t10k-labels-idx1-ubyte.gz": idx_gz(truth[TRAIN:]),
    }


ARCHIVES = {
    "cifar10": cifar10_archive,
    "cifar100": cifar100_archive,
    "fashion_mnist": fashion_mnist_archive,
}


def place(root: Path, files: dict[str, bytes]) -> Path:
    """Puts downloaded files where tensorflow-datasets looks for them."""
    manual = root / "downloads" / "manual"
    manual.mkdir(parents=True)
    for name, body in files.items():
        (manual / name).write_bytes(body)
    return root


def expect(patch: pytest.MonkeyPatch, name: str, files: dict[str, bytes]) -> None:
    """Makes the checksums of `files` the official ones of the dataset."""
    known = checksums.get_all_url_infos()
    for url in archives.BUILDERS[name](data_dir="unused").urls:
        body = files[known[url].filename]
        digest = checksums.hashlib.sha256(body).hexdigest()
        info = checksums.UrlInfo(len(body), digest, known[url].filename)
        patch.setitem(known, url, info)


def truth_of(name: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Images, labels and class names in the order of the archive."""
    if name == "fashion_mnist":
        files = fashion_mnist_archive()
        parts = [gzip.decompress(body) for body in files.values()]
        pixels = parts[0][16:] + parts[2][16:]
        pixels = np.frombuffer(pixels, np.uint8).reshape(-1, 28, 28, 1)
        known = np.frombuffer(parts[1][8:] + parts[3][8:], np.uint8)
        return data.pad(pixels), known, list(embedded.CLASSES)
    classes = {"cifar10": CIFAR10, "cifar100": FINE}[name]
    return images(TRAIN + TEST, 3), labels(TRAIN + TEST, len(classes)), classes
