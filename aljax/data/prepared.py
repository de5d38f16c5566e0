"""CIFAR and Fashion-MNIST through tensorflow-datasets, without TensorFlow.

A dataset which is prepared in array_record format is read. Where there is none, it is
prepared from the official archive, which is found in `downloads/manual` of the data
folder or downloaded to there; tensorflow-datasets verifies its checksum.
"""

import hashlib
import http.client
import os
import shutil
import urllib.request
import uuid
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from tensorflow_datasets.core import constants
from tensorflow_datasets.core.download import checksums, download_manager, resource

from aljax.data import archives, cache
from aljax.data.splits import Splits

# Training and test images of the complete datasets.
SIZES = {
    "cifar10": (50_000, 10_000),
    "cifar100": (50_000, 10_000),
    "fashion_mnist": (60_000, 10_000),
}
CLASSES = {"cifar10": 10, "cifar100": 100, "fashion_mnist": 10}
TIMEOUT = 10.0  # seconds without an answer after which a server is given up
CHUNK = 4096  # records decoded at a time
CACHE = "aljax.npz"  # the decoded arrays, in the folder of the prepared dataset


def pool_size(name: str) -> int:
    """Number of training images of the complete dataset."""
    return SIZES[name][0]


def load(name: str, data_dir: str | None) -> Splits:
    """Read a dataset of `SIZES`, after preparing it where that has not been done.

    The order of the images does not depend on how the dataset was written: see
    `_stable_order`.

    Args:
        name: `cifar10`, `cifar100` or `fashion_mnist`.
        data_dir: the folder of tensorflow-datasets; None for its default,
            $TFDS_DATA_DIR or ~/tensorflow_datasets.

    Raises:
        ValueError: nothing prepared and no archive to be had, a wrong archive, a
            dataset in another format or incomplete; the message says what to do.
    """
    root = _root(str(data_dir or constants.DATA_DIR))
    builder = _builder(name, root)
    folder = Path(builder.data_dir)
    if not _is_prepared(builder):
        _prepare(builder, root)
        builder = _builder(name, root)
    if not _is_prepared(builder):
        raise _damaged(folder, f"{constants.DATASET_INFO_FILENAME} is missing")
    path, key = folder / CACHE, _data_key(folder)
    splits = cache.read(path, key)
    if splits is None:
        splits = _read(builder)
        cache.write(path, key, splits)
    return splits


def _root(data_dir: str) -> Path:
    """The folder of tensorflow-datasets; no folder is made for what means another."""
    root = os.path.expanduser(data_dir)
    if root.startswith("~") or "://" in root or "\0" in root:
        raise ValueError(
            f"--data_dir: {data_dir!r} is no folder of this machine; give one."
        )
    return Path(root)


def _builder(name: str, root: Path) -> tfds.core.DatasetBuilder:
    """What prepares and reads the dataset, which may be there already."""
    try:
        return archives.BUILDERS[name](data_dir=root)
    except Exception as error:  # tensorflow-datasets raises what its parsers do
        raise _damaged(root / name, error) from error


def _damaged(folder: Path, why: object) -> ValueError:
    """For a prepared dataset which cannot be used, in one line."""
    reason = " ".join(str(why).split())
    return ValueError(
        f"--data_dir: {folder} is damaged ({reason}); delete it, and it is prepared "
        "again."
    )


def _is_prepared(builder: tfds.core.DatasetBuilder) -> bool:
    """Whether tensorflow-datasets has finished writing this dataset."""
    return (builder.data_path / constants.DATASET_INFO_FILENAME).exists()


def _data_key(folder: Path) -> str:
    """A digest which changes when the prepared files do, hidden ones left out."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if not path.name.startswith((CACHE, ".")) and path.is_file():
            stat = path.stat()
            digest.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _read(builder: tfds.core.DatasetBuilder) -> Splits:
    """Decode both splits of a prepared dataset."""
    parts = [_read_split(builder, split) for split in ("train", "test")]
    sizes = tuple(len(labels) for _, labels in parts)
    if sizes != SIZES[builder.name]:
        raise ValueError(
            f"--data_dir: {builder.data_path} holds {sizes} training and test images "
            f"of {SIZES[builder.name]}; delete it, and it is prepared again."
        )
    return Splits(*parts[0], *parts[1], _classes(builder))


def _classes(builder: tfds.core.DatasetBuilder) -> tuple[str, ...]:
    """The names of the labels, for which tfds puts numbers where their file lacks."""
    names = tuple(builder.info.features["label"].names)
    if len(set(names)) != CLASSES[builder.name] or names[0].isdecimal():
        raise _damaged(builder.data_dir, "the names of its classes are missing")
    return names


def _read_split(
    builder: tfds.core.DatasetBuilder, split: str
) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, H, W, C] and labels int32 [N] in their stable order."""
    records = _records(builder, split)
    images = np.stack([record["image"] for record in records])
    labels = np.array([record["label"] for record in records], np.int32)
    order = _stable_order(records, images, labels)
    return images[order], labels[order]


def _records(builder: tfds.core.DatasetBuilder, split: str) -> list[dict]:
    """The decoded records of a split as they lie on disk."""
    records = []
    try:
        source = builder.as_data_source(split)
        for start in range(0, len(source), CHUNK):
            stop = min(start + CHUNK, len(source))
            records += source.__getitems__(range(start, stop))
    except NotImplementedError as error:
        raise ValueError(
            f"--data_dir: {builder.data_dir} was prepared as "
            f"{builder.info.file_format.value}, which only TensorFlow reads; move it "
            "away, or give another --data_dir, and it is prepared as array_record."
        ) from error
    except RuntimeError as error:  # what array_record raises for a damaged file
        raise _damaged(builder.data_dir, error) from error
    return records


def _stable_order(
    records: list[dict], images: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Positions of the records in an order which only their content decides.

    tensorflow-datasets shuffles the records when it writes them. CIFAR's carry an id,
    `train_00000` being the first of the archive. Fashion-MNIST's carry none: they are
    ordered by the SHA-256 of their bytes and label, where two of the same digest are
    the same record.
    """
    if "id" in records[0]:
        return np.argsort(np.array([record["id"] for record in records]))
    digests = [
        hashlib.sha256(image.tobytes() + bytes([label])).digest()
        for image, label in zip(images, labels, strict=True)
    ]
    return np.array(sorted(range(len(digests)), key=digests.__getitem__))


def _prepare(builder: tfds.core.DatasetBuilder, root: Path) -> None:
    """Write the dataset of `builder` below `root`, out of its official archive."""
    manual = root / "downloads" / "manual"
    config = tfds.download.DownloadConfig(manual_dir=manual, try_download_gcs=False)
    try:
        manual.mkdir(parents=True, exist_ok=True)
        _fetch_missing(builder, manual)
        builder.download_and_prepare(download_config=config, file_format="array_record")
    except download_manager.NonMatchingChecksumError as error:
        raise ValueError(
            f"--config.data.name={builder.name}: wrong checksum of "
            f"{_wrong_archives(builder, manual)}; replace it by the official file, or "
            "delete it to have it downloaded."
        ) from error
    except OSError as error:
        # Not an error where another process has put its finished folder in our place.
        if not _is_prepared(builder):
            raise ValueError(
                f"--data_dir: {root} holds no prepared {builder.name} and cannot be "
                f"written ({error}); give a folder which can."
            ) from error


def _fetch_missing(builder: tfds.core.DatasetBuilder, manual: Path) -> None:
    """Download the archives which are not there into `manual`, if they can be had."""
    missing = [url for url in builder.urls if not _is_here(url, builder.name, manual)]
    while missing:
        try:
            _download(missing[0], _place(missing[0], manual))
        except (OSError, http.client.HTTPException) as error:
            files = " and ".join(
                f"{_place(url, manual)} (from {url})" for url in missing
            )
            raise ValueError(
                f"--config.data.name={builder.name}: --data_dir holds no prepared "
                f"{builder.name} and a download failed ({error}); put the official "
                f"archive at {files}, or give the --data_dir of a prepared dataset."
            ) from error
        missing.pop(0)


def _place(url: str, manual: Path) -> Path:
    """Where tensorflow-datasets looks for the file of `url`."""
    return manual / checksums.get_all_url_infos()[url].filename


def _is_here(url: str, name: str, manual: Path) -> bool:
    """Whether tensorflow-datasets will find the file of `url` without a network."""
    info = checksums.get_all_url_infos()[url]
    cached = resource.get_dl_fname(url, info.checksum)
    downloads = manual.parent
    return _place(url, manual).exists() or any(
        resource.is_locally_cached(folder / cached)
        for folder in (downloads / name, downloads)
    )


def _download(url: str, target: Path) -> None:
    """Fetch `url` to `target` in one step.

    The download of tensorflow-datasets is not used: without a network it tries for
    minutes, and a server which falls silent stops it for ever.
    """
    size = checksums.get_all_url_infos()[url].size
    part = target.with_name(f"{target.name}.{uuid.uuid4().hex}.part")
    cache.remove_abandoned(target.parent, f"{target.name}.*.part")
    logging.info("Downloading %s (%s) to %s", url, size, target)
    try:
        with (
            urllib.request.urlopen(url, timeout=TIMEOUT) as response,
            part.open("xb") as file,
        ):
            shutil.copyfileobj(response, file, 1 << 20)
        if part.stat().st_size != size:
            raise OSError(f"{part.stat().st_size} bytes came instead of {int(size)}")
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _wrong_archives(builder: tfds.core.DatasetBuilder, manual: Path) -> str:
    """The archives in `manual` whose checksum is not the official one."""
    expected = checksums.get_all_url_infos()
    wrong = [
        f"{_place(url, manual)} (from {url})"
        for url in builder.urls
        if _place(url, manual).exists()
        and checksums.compute_url_info(_place(url, manual)) != expected[url]
    ]
    return " and ".join(wrong)
