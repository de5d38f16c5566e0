"""Tests for `../aljax/data/prepared.py` and `../aljax/data/archives.py`.

The archives are built here in the official formats from the embedded images, and their
checksums take the place of the official ones.
"""

import gzip
import io
import os
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import checksums

from aljax import data
from aljax.data import archives, embedded, prepared

TRAIN, TEST = 55, 13
STOCK = {
    "cifar10": tfds.image_classification.Cifar10,
    "cifar100": tfds.image_classification.Cifar100,
    "fashion_mnist": tfds.image_classification.FashionMNIST,
}
NAMES = list(STOCK)
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


def offline(url, timeout):
    raise urllib.error.URLError("Name or service not known")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", offline)


@pytest.fixture(scope="module", autouse=True)
def small_sizes():
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            patch.setitem(prepared.SIZES, name, (TRAIN, TEST))
        yield


def expect(patch: pytest.MonkeyPatch, name: str, files: dict[str, bytes]) -> None:
    """Make the checksums of `files` the official ones of the dataset."""
    known = checksums.get_all_url_infos()
    for url in archives.BUILDERS[name](data_dir="unused").urls:
        body = files[known[url].filename]
        digest = checksums.hashlib.sha256(body).hexdigest()
        info = checksums.UrlInfo(len(body), digest, known[url].filename)
        patch.setitem(known, url, info)


def place(root: Path, files: dict[str, bytes]) -> Path:
    manual = root / "downloads" / "manual"
    manual.mkdir(parents=True)
    for name, body in files.items():
        (manual / name).write_bytes(body)
    return root


@pytest.fixture(scope="module", params=NAMES)
def on_disk(request, tmp_path_factory):
    """(name, data_dir, loaded dataset) after preparing it from its archive."""
    name = request.param
    files = ARCHIVES[name]()
    with pytest.MonkeyPatch.context() as patch:
        expect(patch, name, files)
        root = place(tmp_path_factory.mktemp(name), files)
        yield name, root, data.load(name, None, None, str(root))


def folder_of(name: str, root: Path) -> Path:
    return Path(archives.BUILDERS[name](data_dir=root).data_dir)


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


def test_arrays_come_back_bit_exact(on_disk):
    name, _, dataset = on_disk
    pixels, known, classes = truth_of(name)
    order = np.arange(TRAIN), np.arange(TEST)
    if name == "fashion_mnist":  # no ids: ordered by digest of image and label
        raw = pixels[:, 2:30, 2:30]
        digests = [
            checksums.hashlib.sha256(image.tobytes() + bytes([label])).digest()
            for image, label in zip(raw, known, strict=True)
        ]
        order = [
            np.array(sorted(range(*part), key=digests.__getitem__)) - part[0]
            for part in ((0, TRAIN), (TRAIN, TRAIN + TEST))
        ]
    np.testing.assert_array_equal(dataset.train_images, pixels[:TRAIN][order[0]])
    np.testing.assert_array_equal(dataset.train_labels, known[:TRAIN][order[0]])
    np.testing.assert_array_equal(dataset.test_images, pixels[TRAIN:][order[1]])
    np.testing.assert_array_equal(dataset.test_labels, known[TRAIN:][order[1]])
    assert dataset.train_labels.dtype == np.int32
    assert list(dataset.classes) == classes


def test_plain_tfds_reads_what_was_prepared(on_disk):
    name, root, dataset = on_disk
    source = tfds.data_source(name, data_dir=root, split="train", download=False)
    stock = STOCK[name](data_dir=root / "nowhere").info.features
    record = source[0]
    assert len(source) == TRAIN
    assert sorted(record) == sorted(stock)
    assert record["image"].shape == stock["image"].shape
    features = STOCK[name](data_dir=root).info.features
    assert features["label"].names == list(dataset.classes)
    if name == "cifar100":
        assert features["coarse_label"].names == COARSE
        assert all(r["coarse_label"] == r["label"] // 5 for r in source)
    if name != "fashion_mnist":
        ids = {record["id"] for record in source}
        assert ids == {f"train_{n:05d}".encode() for n in range(TRAIN)}


def test_order_does_not_depend_on_how_it_was_written(on_disk, tmp_path):
    name, root, dataset = on_disk
    builder = archives.BUILDERS[name](data_dir=tmp_path)
    config = tfds.download.DownloadConfig(
        manual_dir=root / "downloads" / "manual", num_shards=3
    )
    builder.download_and_prepare(download_config=config, file_format="array_record")
    assert len(list(Path(builder.data_dir).glob("*train*"))) == 3
    assert data.load(name, None, None, tmp_path).fingerprint == dataset.fingerprint


def test_second_load_decodes_nothing(on_disk, monkeypatch):
    name, root, dataset = on_disk
    monkeypatch.setattr(prepared, "_read", None)
    again = data.load(name, None, None, str(root))
    assert again.fingerprint == dataset.fingerprint


def test_changed_data_are_decoded_anew(on_disk, monkeypatch):
    name, root, dataset = on_disk
    shard = next(folder_of(name, root).glob("*train*"))
    os.utime(shard, ns=(1, 1))
    decoded = []
    read = prepared._read
    monkeypatch.setattr(prepared, "_read", lambda b: decoded.append(b) or read(b))
    assert data.load(name, None, None, root).fingerprint == dataset.fingerprint
    data.load(name, None, None, root)
    assert len(decoded) == 1


def test_a_cache_which_cannot_be_written_is_no_error(on_disk):
    name, root, dataset = on_disk
    cache = folder_of(name, root) / prepared.CACHE
    cache.unlink()
    cache.mkdir()  # a folder in its place: even root cannot write it
    try:
        assert data.load(name, None, None, root).fingerprint == dataset.fingerprint
    finally:
        cache.rmdir()


def refused(name: str, root: Path, *parts: str) -> None:
    """`load` fails with one line which holds all parts."""
    with pytest.raises(ValueError) as error:
        data.load(name, None, None, str(root))
    message = str(error.value)
    assert "\n" not in message and message.startswith("--")
    for part in parts:
        assert part in message


@pytest.mark.parametrize("name", NAMES)
def test_no_network_and_no_archive(name, tmp_path):
    known = checksums.get_all_url_infos()
    urls = archives.BUILDERS[name](data_dir=tmp_path).urls
    manual = tmp_path / "downloads" / "manual"
    places = [f"{manual / known[url].filename} (from {url})" for url in urls]
    refused(name, tmp_path, "Name or service not known", *places)
    assert list(manual.iterdir()) == []


def test_only_the_missing_archive_is_asked_for(tmp_path, monkeypatch):
    files = fashion_mnist_archive()
    expect(monkeypatch, "fashion_mnist", files)
    last = files.popitem()[0]
    root = place(tmp_path, files)
    manual = root / "downloads" / "manual"
    refused("fashion_mnist", root, f"put the official archive at {manual / last} (from")


def test_wrong_archive_is_named(tmp_path):
    """The official checksum stands here, and the archive is another."""
    root = place(tmp_path, cifar10_archive())
    path = root / "downloads" / "manual" / "cifar-10-binary.tar.gz"
    refused("cifar10", root, f"wrong checksum of {path} (from https://www.cs.toronto")
    assert not folder_of("cifar10", root).exists()


class Response(io.BytesIO):
    """What urlopen gives, which counts as a context manager too."""


def test_archive_is_downloaded(tmp_path, monkeypatch):
    files = cifar10_archive()
    (body,) = files.values()
    expect(monkeypatch, "cifar10", files)
    asked = []

    def urlopen(url, timeout):
        asked.append((url, timeout))
        return Response(body)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    dataset = data.load("cifar10", None, None, str(tmp_path))
    assert len(dataset.train_labels) == TRAIN
    url = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    assert asked == [(url, prepared.TIMEOUT)]
    manual = tmp_path / "downloads" / "manual"
    assert [path.name for path in manual.iterdir()] == ["cifar-10-binary.tar.gz"]


def test_all_missing_archives_are_downloaded(tmp_path, monkeypatch):
    files = fashion_mnist_archive()
    expect(monkeypatch, "fashion_mnist", files)
    monkeypatch.setattr(
        urllib.request,
        "urlopen",
        lambda url, timeout: Response(files[url.rpartition("/")[2]]),
    )
    dataset = data.load("fashion_mnist", None, None, str(tmp_path))
    assert len(dataset.train_labels) == TRAIN
    assert {path.name for path in tmp_path.glob("downloads/manual/*")} == set(files)


def test_another_process_was_faster(tmp_path, monkeypatch):
    files = cifar10_archive()
    expect(monkeypatch, "cifar10", files)
    root = place(tmp_path, files)
    prepare = archives.Cifar10.download_and_prepare

    def late(builder, **options):
        prepare(builder, **options)
        raise OSError("Directory not empty")

    monkeypatch.setattr(archives.Cifar10, "download_and_prepare", late)
    assert len(data.load("cifar10", None, None, root).train_labels) == TRAIN


def test_a_download_cut_short_is_not_kept(tmp_path, monkeypatch):
    files = cifar10_archive()
    (body,) = files.values()
    expect(monkeypatch, "cifar10", files)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: Response(body[:99]))
    refused("cifar10", tmp_path, f"99 bytes came instead of {len(body)}")
    assert list((tmp_path / "downloads" / "manual").iterdir()) == []


def test_data_dir_which_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    refused("cifar10", tmp_path / "file", "--data_dir:", "cannot be written")


def test_tfrecord_is_refused(on_disk, tmp_path):
    """What TensorFlow prepares says tfrecord in its description."""
    name, root, _ = on_disk
    target = folder_of(name, tmp_path)
    target.mkdir(parents=True)
    for path in folder_of(name, root).iterdir():
        body = path.read_bytes()
        if path.name == "dataset_info.json":
            body = body.replace(b"array_record", b"tfrecord")
        (target / path.name.replace("array_record", "tfrecord")).write_bytes(body)
    (target / prepared.CACHE).unlink(missing_ok=True)
    refused(name, tmp_path, "was prepared as tfrecord, which only TensorFlow reads")


def test_damaged_and_incomplete_data(on_disk, tmp_path, monkeypatch):
    name, root, _ = on_disk
    target = folder_of(name, tmp_path)
    target.mkdir(parents=True)
    for path in folder_of(name, root).iterdir():
        if path.name != prepared.CACHE:
            (target / path.name).write_bytes(path.read_bytes())
    monkeypatch.setitem(prepared.SIZES, name, (50_000, 10_000))
    refused(name, tmp_path, f"holds ({TRAIN}, {TEST}) training and test images")
    shard = next(target.glob("*train*"))
    shard.write_bytes(shard.read_bytes()[:-1000])
    refused(name, tmp_path, f"{target} is damaged", "delete it")
