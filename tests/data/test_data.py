"""Tests for `../aljax/data/__init__.py`, its embedded images and its cache file."""

import dataclasses
import hashlib
import re
import sys
import zlib
from importlib import resources

import numpy as np
import pytest

from aljax import data
from aljax.data import cache
from aljax.data.fashion_mnist_mini import cut
from aljax.data.splits import Splits

FOLDER = resources.files("aljax.data") / "fashion_mnist_mini"
NPZ = FOLDER / "images.npz"


@pytest.fixture(scope="module")
def mini() -> data.Dataset:
    return data.load(data.Data("fashion_mnist_mini"))


def dataset(**changes) -> data.Dataset:
    """Two images a split, other than `changes`."""
    images = np.arange(2 * 32 * 32, dtype=np.uint8).reshape(2, 32, 32, 1)
    labels = np.array([0, 1], np.int32)
    fields = dict(
        name="a",
        train_images=images,
        train_labels=labels,
        test_images=images + 1,
        test_labels=labels[::-1].copy(),
        classes=("x", "y"),
        mean=(0.5,),
        std=(0.5,),
    )
    return data.Dataset(**fields | changes)


def test_mini_shapes_and_types(mini):
    assert mini.train_images.shape == (10_000, 32, 32, 1)
    assert mini.test_images.shape == (2_000, 32, 32, 1)
    for images in (mini.train_images, mini.test_images):
        assert images.dtype == np.uint8 and images.flags.c_contiguous
    for labels in (mini.train_labels, mini.test_labels):
        assert labels.dtype == np.int32 and labels.flags.c_contiguous
    assert mini.classes[0] == "T-shirt/top" and mini.classes[9] == "Ankle boot"


def test_mini_is_stratified(mini):
    assert np.bincount(mini.train_labels).tolist() == [1_000] * 10
    assert np.bincount(mini.test_labels).tolist() == [200] * 10


def test_mini_is_padded_by_two_on_all_sides(mini):
    inside = np.zeros((32, 32), bool)
    inside[2:30, 2:30] = True
    used = mini.train_images.any(axis=(0, 3))
    assert not used[~inside].any() and used[inside].all()


def test_mini_never_changes(mini):
    """Indices of bought images are kept for years: 17 must stay the same image."""
    expected = "b8bcb1046dfecc710c4e1124b2d70bee704b32c347a79b27a1d0ec887ec24379"
    assert mini.fingerprint == expected


def test_mean_and_std_are_those_of_the_unpadded_pool(mini):
    pixels = mini.train_images[:, 2:30, 2:30] / 255.0
    np.testing.assert_allclose(mini.mean, [pixels.mean()], rtol=1e-12)
    np.testing.assert_allclose(mini.std, [pixels.std()], rtol=1e-12)


def test_statistics_of_each_channel_and_of_a_constant_one(monkeypatch):
    # More than one chunk, and not a multiple of it.
    monkeypatch.setattr(data, "CHUNK", 100)
    shape = (107, 2, 3, 3)
    images = np.random.default_rng(0).integers(0, 200, shape).astype(np.uint8)
    images[..., 2] = 51
    mean, std = data.channel_statistics(images)
    scaled = images / 255.0
    np.testing.assert_allclose(mean, scaled.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std[:2], scaled.std(axis=(0, 1, 2))[:2], rtol=1e-12)
    assert std[2] == 1.0


@pytest.mark.parametrize(
    "size, padded, first",
    [((28, 28), (32, 32), (2, 2)), ((33, 47), (64, 64), (15, 8)), ((32, 64), None, 0)],
)
def test_pad(size, padded, first):
    images = np.full((3, *size, 2), 9, np.uint8)
    result = data.pad(images)
    assert result.shape == (3, *(padded or size), 2) and result.flags.c_contiguous
    assert result.sum() == images.sum()
    if padded:
        assert tuple(np.argwhere(result[0, :, :, 0])[0]) == first


@pytest.mark.parametrize(
    "field", ["train_images", "train_labels", "test_images", "test_labels"]
)
def test_fingerprint_depends_on_every_array(field):
    original = dataset()
    changed = getattr(original, field).copy()
    changed.flat[-1] ^= 1
    other = dataclasses.replace(original, **{field: changed})
    assert other.fingerprint != original.fingerprint == dataset().fingerprint


def test_fingerprint_depends_on_classes_and_shapes():
    original = dataset()
    shaped = original.train_images.reshape(2, 16, 64, 1)
    prints = {
        original.fingerprint,
        dataset(classes=("x", "z")).fingerprint,
        dataset(train_images=shaped).fingerprint,
    }
    assert len(prints) == 3


@pytest.mark.parametrize(
    "name, size",
    [
        ("cifar10", 50_000),
        ("cifar100", 50_000),
        ("fashion_mnist", 60_000),
        ("fashion_mnist_mini", 10_000),
    ],
)
def test_pool_size_reads_nothing(name, size, tmp_path):
    missing = tmp_path / "missing"
    assert data.pool_size(data.Data(name), str(missing)) == size
    assert not missing.exists()


@pytest.mark.parametrize("function", [data.load, data.pool_size])
@pytest.mark.parametrize(
    "wrong, message",
    [
        (
            data.Data("cifar11", None, None),
            "--config.data.name: unknown value 'cifar11'; did you mean 'cifar10'?",
        ),
        (
            data.Data("fashion_mnist_mini", "images", None),
            "--config.data.path: 'images' is set, but fashion_mnist_mini takes none",
        ),
        (
            data.Data("cifar10", None, 64),
            "--config.data.image_size: 64 is set, but cifar10 takes none; leave it out "
            "or set --config.data.name=image_folder.",
        ),
        (data.Data("image_folder", None, None), "--config.data.path: not set"),
        (
            data.Data("image_folder", "x", 0),
            "--config.data.image_size: 0 is not a number",
        ),
    ],
)
def test_wrong_options(function, wrong, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        function(wrong)


def test_tensorflow_is_not_imported(mini):
    assert "tensorflow" not in sys.modules


def test_embedded_files_are_small_and_have_a_licence():
    size = sum(len(path.read_bytes()) for path in FOLDER.iterdir() if path.is_file())
    assert size <= 6_000_000
    assert "2017 Zalando SE" in (FOLDER / "LICENSE").read_text()
    digest = hashlib.sha256(NPZ.read_bytes()).hexdigest()
    assert digest in (FOLDER / "README.md").read_text()


@pytest.mark.skipif(
    not cut.SOURCE.exists(), reason="Debian's dataset-fashion-mnist is not installed"
)
def test_cutting_again_gives_the_same_file(tmp_path):
    cut.cut(cut.SOURCE, tmp_path / "images.npz")
    with np.load(tmp_path / "images.npz") as new, np.load(NPZ) as old:
        assert sorted(new) == sorted(old)
        for name in old:
            np.testing.assert_array_equal(new[name], old[name])
    # Other implementations of deflate pack the same arrays otherwise.
    if "ng" not in zlib.ZLIB_RUNTIME_VERSION:
        assert (tmp_path / "images.npz").read_bytes() == NPZ.read_bytes()


def test_cut_takes_evenly_spaced_images_of_each_class():
    labels = np.array([1, 0, 1, 0, 0, 1, 1, 0])
    assert cut.evenly_spaced(labels, 2).tolist() == [0, 1, 4, 5]


IMAGES = np.zeros((3, 8, 8, 1), np.uint8)
LABELS = np.array([0, 1, 1])


@pytest.mark.parametrize(
    ("part", "given", "words"),
    [
        ("train_images", IMAGES[..., 0], "train_images are uint8 [3, 8, 8]; they must"),
        ("train_images", IMAGES / 255, "train_images are float64 [3, 8, 8, 1]; they"),
        ("test_images", IMAGES[:, :4], "but those of the pool are [N, 8, 8, 1]"),
        ("test_images", IMAGES[:0], "test_images are uint8 [0, 8, 8, 1]; they must"),
        ("train_labels", LABELS[:2], "a whole number for each of 3 images"),
        ("classes", ("cat",), "its classes are 1; it needs 2 or more"),
        ("train_labels", LABELS / 2, "train_labels are float64 [3]; they must be a"),
        ("test_labels", LABELS - 1, "test_labels are -1 to 0; 2 classes have"),
        ("test_labels", LABELS + 1, "test_labels are 1 to 2; 2 classes have"),
    ],
)
def test_arrays_of_ones_own_are_checked(part, given, words, monkeypatch):
    fine = Splits(IMAGES, LABELS, IMAGES, LABELS, ("cat", "dog"))
    source = data.Source(lambda options: splits, lambda options: 3)
    monkeypatch.setitem(data.DATASETS, "mine", source)
    splits = fine
    assert data.load(data.Data("mine")).train_labels.tolist() == [0, 1, 1]
    splits = fine._replace(**{part: given})
    with pytest.raises(ValueError) as error:
        data.load(data.Data("mine"))
    assert str(error.value).startswith("--config.data.name=mine: its ")
    assert words in str(error.value)


def small_splits() -> Splits:
    images = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    labels = np.array([1, 0], np.int32)
    return Splits(images, labels, images[:1], labels[:1], ("a", "b/c"))


def test_cache_round_trip(tmp_path):
    path = tmp_path / "new" / "cache.npz"
    cache.write(path, "key", small_splits())
    found = cache.read(path, "key")
    for left, right in zip(found[:4], small_splits()[:4], strict=True):
        np.testing.assert_array_equal(left, right)
        assert left.dtype == right.dtype
    assert found.classes == ("a", "b/c")
    assert [file.name for file in path.parent.iterdir()] == ["cache.npz"]


def test_cache_with_another_key_counts_as_none(tmp_path):
    cache.write(tmp_path / "cache.npz", "old", small_splits())
    assert cache.read(tmp_path / "cache.npz", "new") is None


@pytest.mark.parametrize("keep", [0, 100, -400])
def test_damaged_cache_counts_as_none(tmp_path, keep):
    path = tmp_path / "cache.npz"
    cache.write(path, "key", small_splits())
    path.write_bytes(path.read_bytes()[:keep])
    assert cache.read(path, "key") is None


def test_interrupted_write_leaves_the_old_cache(tmp_path, monkeypatch):
    path = tmp_path / "cache.npz"
    cache.write(path, "old", small_splits())

    def full_disk(file, **arrays):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(cache.np, "savez", full_disk)
    cache.write(path, "new", small_splits())
    assert cache.read(path, "old") is not None
    assert [file.name for file in tmp_path.iterdir()] == ["cache.npz"]
