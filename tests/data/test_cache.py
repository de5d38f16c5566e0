"""Tests for `../../aljax/data/cache.py`: what is kept, what is deleted, and when."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from aljax import data
from aljax.data import cache, image_folder
from aljax.data.splits import Splits
from tests.support.pictures import encoded, load, pack, plant

LIMIT = "ALJAX_IMAGE_CACHE_GB"
NAMES = ("train/a/1.png", "train/b/2.png", "test/a/3.png", "test/b/4.png")
KEPT = 41_900  # bytes of one of these folders' files, to the next hundred


def folder(root: Path, seed: int) -> Path:
    """Four images of 10,000 bytes."""
    files = {name: encoded(seed, "L", size=(100, 100)) for name in NAMES}
    return plant(root / f"images {seed}", files)


def kept(cache_folder: Path) -> int:
    """Bytes in the cache."""
    return sum(path.stat().st_size for path in cache_folder.iterdir())


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The first name of each time that images are decoded."""
    calls = []
    decode = image_folder.decode_all

    def spy(read, names, image_size):
        calls.append(names[0])
        return decode(read, names, image_size)

    monkeypatch.setattr(image_folder, "decode_all", spy)
    return calls


def let_room_be_for(monkeypatch, files: float) -> None:
    monkeypatch.setenv(LIMIT, repr(files * KEPT / 1e9))


def used(cache_folder: Path, path: Path, at: int) -> None:
    """Pretend that the images of `path` were last used then."""
    os.utime(cache_folder / cache.place(str(path), None).name, (at, at))


def test_one_file_takes_what_the_tests_think(tmp_path, cache_folder):
    load(folder(tmp_path, 0))
    assert KEPT - 100 < kept(cache_folder) <= KEPT


def test_the_oldest_use_goes_first(tmp_path, cache_folder, monkeypatch, decoded):
    let_room_be_for(monkeypatch, 3)
    paths = [folder(tmp_path, seed) for seed in range(4)]
    for at, path in enumerate(paths[:3]):
        load(path)
        used(cache_folder, path, 1000 + at)
    load(paths[0])  # which is the newest use now
    assert len(decoded) == 3
    load(paths[3])
    assert kept(cache_folder) <= 3 * KEPT
    load(paths[0]), load(paths[2]), load(paths[3])
    assert len(decoded) == 4
    load(paths[1])
    assert len(decoded) == 5


def test_below_the_limit_nothing_is_deleted(tmp_path, cache_folder, monkeypatch):
    let_room_be_for(monkeypatch, 4)
    for seed in range(4):
        load(folder(tmp_path, seed))
    assert len(list(cache_folder.iterdir())) == 4


def test_room_is_made_before_a_file_is_written(tmp_path, cache_folder, monkeypatch):
    """A disk which is nearly full has none for one more."""
    let_room_be_for(monkeypatch, 2)
    seen = []
    save = np.savez

    def spy(file, **arrays):
        seen.append(len(list(cache_folder.glob("*.npz"))))
        save(file, **arrays)

    monkeypatch.setattr(cache.np, "savez", spy)
    for seed in range(4):
        load(folder(tmp_path, seed))
    assert seen == [0, 1, 1, 1]


def test_what_is_replaced_takes_no_room(tmp_path, cache_folder, monkeypatch, decoded):
    let_room_be_for(monkeypatch, 2.5)
    other, path = folder(tmp_path, 0), folder(tmp_path, 1)
    load(other), load(path)
    used(cache_folder, other, 1)
    os.utime(path / NAMES[0], (1, 1))
    load(path), load(other)
    assert len(decoded) == 3


def test_by_default_it_is_ten_gigabytes(monkeypatch):
    for text in (None, "", "10", "1e1"):
        monkeypatch.delenv(LIMIT, raising=False)
        if text is not None:
            monkeypatch.setenv(LIMIT, text)
        assert cache.limit() == 10_000_000_000
    monkeypatch.setenv(LIMIT, "inf")
    assert cache.limit() == float("inf")


@pytest.mark.parametrize("text", ["ten", "-1", "nan", "10 GB", "1,5", "0x10"])
def test_a_limit_which_is_no_number(tmp_path, monkeypatch, text):
    monkeypatch.setenv(LIMIT, text)
    path = str(folder(tmp_path, 0))
    for function in (data.load, data.pool_size):
        with pytest.raises(ValueError) as error:
            function(data.Data("image_folder", path))
        assert f"{LIMIT}: {text!r} is not a number of gigabytes" in str(error.value)


def test_nothing_is_kept_without_room(
    tmp_path, cache_folder, monkeypatch, warnings_said
):
    let_room_be_for(monkeypatch, 0)
    load(folder(tmp_path, 0))
    assert warnings_said == []
    let_room_be_for(monkeypatch, 0.9)
    load(folder(tmp_path, 0))
    assert warnings_said == [
        "Images are not cached, every load decodes them: they take 0.0 GB, and "
        "ALJAX_IMAGE_CACHE_GB allows 0.0."
    ]
    assert not cache_folder.exists()


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_changed_file_adds_no_copy(tmp_path, cache_folder, decoded, kind):
    path = folder(tmp_path, 0)
    if kind == "zip":
        path = pack(tmp_path / "x.zip", {name: encoded(0) for name in NAMES})
    first = load(path).fingerprint
    if kind == "zip":
        pack(path, {name: encoded(1) for name in NAMES})
        assert load(path).fingerprint != first
    else:
        os.utime(path / NAMES[0], (1, 1))
        assert load(path).fingerprint == first
    load(path)
    assert len(decoded) == 2
    assert len(list(cache_folder.iterdir())) == 1


def test_a_touched_zip_is_not_even_decoded(tmp_path, decoded):
    path = pack(tmp_path / "x.zip", {name: encoded(0) for name in NAMES})
    load(path)
    os.utime(path, (1, 1))
    load(path)
    assert len(decoded) == 1


def test_other_ways_to_the_same_folder_add_no_copy(
    tmp_path, cache_folder, decoded, monkeypatch
):
    path = folder(tmp_path, 0)
    (tmp_path / "link").symlink_to(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for way in (path, tmp_path / "link", path.name, f"{path}/", f"~/{path.name}"):
        load(way)
    assert len(decoded) == 1
    assert len(list(cache_folder.iterdir())) == 1


def test_sizes_have_files_of_their_own(tmp_path, cache_folder, decoded):
    path = folder(tmp_path, 0)
    for image_size in (None, 8, 9, None, 8, 9):
        load(path, image_size)
    assert len(decoded) == len(list(cache_folder.iterdir())) == 3


def test_what_earlier_versions_left_is_deleted_too(tmp_path, cache_folder, monkeypatch):
    let_room_be_for(monkeypatch, 1)
    cache_folder.mkdir(parents=True)
    old = cache_folder / f"image_folder-{'0' * 32}-as_is.npz"
    old.write_bytes(bytes(100))
    others = plant(cache_folder, {"programs/x": bytes(99), "mine.npz": bytes(99)})
    load(folder(tmp_path, 0))
    assert not old.exists()
    assert (others / "programs/x").exists() and (others / "mine.npz").exists()


@pytest.mark.parametrize("name", ["image_folder-0-as_is.npz.0.tmp", "own"])
def test_half_a_file_of_a_killed_process_goes_after_a_day(tmp_path, cache_folder, name):
    path = folder(tmp_path, 0)
    if name == "own":
        name = f"{cache.place(str(path), None).name}.0.tmp"
    cache_folder.mkdir(parents=True)
    half = cache_folder / name
    half.write_bytes(bytes(99))
    load(path)
    assert half.exists(), "someone may be writing it"
    then = time.time() - 24 * 3600 - 60
    os.utime(half, (then, then))
    load(path, 8)
    load(path, 9)
    assert not half.exists()


def test_half_a_file_beside_a_prepared_dataset_goes_too(tmp_path):
    images = np.zeros((2, 2, 2, 3), np.uint8)
    labels = np.zeros(2, np.int32)
    half = tmp_path / "aljax.npz.0.tmp"
    half.write_bytes(b"")
    os.utime(half, (1, 1))
    splits = Splits(images, labels, images, labels, ("a", "b"))
    cache.write(tmp_path / "aljax.npz", "key", splits)
    assert [path.name for path in tmp_path.glob("*")] == ["aljax.npz"]


def test_an_old_file_is_read_and_stays_the_newest_use(tmp_path, cache_folder, decoded):
    path = folder(tmp_path, 0)
    load(path)
    used(cache_folder, path, 1)
    load(path)
    (file,) = cache_folder.iterdir()
    assert time.time() - file.stat().st_mtime < 60
    assert len(decoded) == 1


def test_any_byte_of_a_file_may_be_wrong(tmp_path, cache_folder, monkeypatch):
    """It is written anew, or what is wrong does not matter."""
    path = plant(tmp_path / "x", {name: encoded(0, "L", size=(2, 2)) for name in NAMES})
    expected = load(path).fingerprint
    (file,) = cache_folder.iterdir()
    whole = file.read_bytes()
    for at in range(1, len(whole), 2):  # among them all flags and methods
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x01]) + whole[at + 1 :])
        assert load(path).fingerprint == expected, at


def a_full_disk(cache_folder: Path, file: Path, patch: pytest.MonkeyPatch) -> None:
    def savez(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    patch.setattr(cache.np, "savez", savez)


# Places where nothing can be kept: how to make one.
USELESS = {
    "a device": lambda folder, file, patch: patch.setenv("XDG_CACHE_HOME", "/dev/null"),
    "processes": lambda folder, file, patch: patch.setenv("XDG_CACHE_HOME", "/proc/1"),
    "too long": lambda f, file, patch: patch.setenv("XDG_CACHE_HOME", "/" + "x" * 5000),
    "nobody's": lambda f, file, patch: patch.setenv("XDG_CACHE_HOME", "~nobody-here/x"),
    "a link to nowhere": lambda folder, file, patch: (
        folder.parent.mkdir(),
        folder.symlink_to("nowhere"),
    ),
    "a file": lambda folder, file, patch: (
        folder.parent.mkdir(),
        folder.write_bytes(b""),
    ),
    "a folder for the file": lambda folder, file, patch: file.mkdir(parents=True),
    "a full disk": a_full_disk,
}


@pytest.mark.parametrize("place", USELESS)
def test_where_nothing_can_be_kept_a_warning_says_so(
    tmp_path, cache_folder, monkeypatch, warnings_said, place
):
    path = folder(tmp_path, 0)
    USELESS[place](cache_folder, cache.place(str(path), None), monkeypatch)
    assert load(path).classes == ("a", "b")
    assert "mages are not cached" in warnings_said[-1]
    assert list(tmp_path.rglob("*.tmp")) == []


# Loads folders in an order of its own, again and again, and says what it saw.
WORKER = """
import random, sys
from aljax import data
paths = sys.argv[2:]
order = random.Random(int(sys.argv[1])).choices(range(len(paths)), k=60)
for at in order:
    print(at, data.load(data.Data("image_folder", paths[at])).fingerprint)
"""


def test_several_processes_share_it(tmp_path, cache_folder, monkeypatch):
    """Four of them want six folders, where two have room."""
    let_room_be_for(monkeypatch, 2)
    paths = [str(folder(tmp_path, seed)) for seed in range(6)]
    expected = {f"{at} {load(path).fingerprint}" for at, path in enumerate(paths)}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(seed), *paths],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in range(4)
    ]
    for worker in workers:
        said, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors
        assert len(said.splitlines()) == 60 and set(said.splitlines()) <= expected
        assert "Images are not cached" not in errors and "unreadable" not in errors
    assert 0 < kept(cache_folder) <= 2 * KEPT
    assert all(path.suffix == ".npz" for path in cache_folder.iterdir())
