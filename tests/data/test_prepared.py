"""Tests for `../aljax/data/prepared.py` and `../aljax/data/archives.py`.

The archives are built here in the official formats from the embedded images, and their
checksums take the place of the official ones.
"""

import io
import os
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import checksums

from aljax import data
from aljax.data import archives, prepared
from tests.support.official import (
    ARCHIVES,
    COARSE,
    TEST,
    TRAIN,
    cifar10_archive,
    expect,
    fashion_mnist_archive,
    place,
    truth_of,
)

STOCK = {
    "cifar10": tfds.image_classification.Cifar10,
    "cifar100": tfds.image_classification.Cifar100,
    "fashion_mnist": tfds.image_classification.FashionMNIST,
}
NAMES = list(STOCK)


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


@pytest.fixture(scope="module", params=NAMES)
def on_disk(request, tmp_path_factory):
    """(name, data_dir, loaded dataset) after preparing it from its archive."""
    name = request.param
    files = ARCHIVES[name]()
    with pytest.MonkeyPatch.context() as patch:
        expect(patch, name, files)
        root = place(tmp_path_factory.mktemp(name), files)
        yield name, root, data.load(data.Data(name), str(root))


def folder_of(name: str, root: Path) -> Path:
    return Path(archives.BUILDERS[name](data_dir=root).data_dir)


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
    assert data.load(data.Data(name), tmp_path).fingerprint == dataset.fingerprint


def test_second_load_decodes_nothing(on_disk, monkeypatch):
    name, root, dataset = on_disk
    monkeypatch.setattr(prepared, "_read", None)
    again = data.load(data.Data(name), str(root))
    assert again.fingerprint == dataset.fingerprint


def test_changed_data_are_decoded_anew(on_disk, monkeypatch):
    name, root, dataset = on_disk
    shard = next(folder_of(name, root).glob("*train*"))
    os.utime(shard, ns=(1, 1))
    decoded = []
    read = prepared._read
    monkeypatch.setattr(prepared, "_read", lambda b: decoded.append(b) or read(b))
    assert data.load(data.Data(name), root).fingerprint == dataset.fingerprint
    data.load(data.Data(name), root)
    assert len(decoded) == 1


def test_a_cache_which_cannot_be_written_is_no_error(on_disk):
    name, root, dataset = on_disk
    cache = folder_of(name, root) / prepared.CACHE
    cache.unlink()
    cache.mkdir()  # a folder in its place: even root cannot write it
    try:
        assert data.load(data.Data(name), root).fingerprint == dataset.fingerprint
    finally:
        cache.rmdir()


def refused(name: str, root: Path, *parts: str) -> None:
    """`load` fails with one line which holds all parts."""
    with pytest.raises(ValueError) as error:
        data.load(data.Data(name), str(root))
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
    dataset = data.load(data.Data("cifar10"), str(tmp_path))
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
    dataset = data.load(data.Data("fashion_mnist"), str(tmp_path))
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
    assert len(data.load(data.Data("cifar10"), root).train_labels) == TRAIN


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
