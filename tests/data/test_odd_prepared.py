"""Folders of tensorflow-datasets which are damaged, or no folders at all."""

import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from aljax import data
from aljax.data import archives, prepared
from tests.support.official import TEST, TRAIN, cifar10_archive, expect, place

NAME = "cifar10"


def offline(url, timeout):
    raise urllib.error.URLError("Name or service not known")


@pytest.fixture(scope="module", autouse=True)
def archive():
    """The archive of a small dataset, for the official one; there is no network."""
    files = cifar10_archive()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(prepared.SIZES, NAME, (TRAIN, TEST))
        patch.setattr(urllib.request, "urlopen", offline)
        expect(patch, NAME, files)
        yield files


@pytest.fixture(scope="module")
def sound(archive, tmp_path_factory) -> tuple[Path, str]:
    """A folder with a prepared dataset, and the fingerprint of its images."""
    root = place(tmp_path_factory.mktemp("sound"), archive)
    dataset = data.load(data.Data(NAME), str(root))
    (folder_in(root) / prepared.CACHE).unlink()
    return root, dataset.fingerprint


def folder_in(root: Path) -> Path:
    (version,) = (path for path in (root / NAME).iterdir() if path.name[0].isdigit())
    return version


@pytest.fixture
def root(tmp_path, sound) -> Path:
    """A copy which may be damaged."""
    return shutil.copytree(sound[0], tmp_path / "copy")


def said(root: object) -> str:
    with pytest.raises(ValueError) as error:
        data.load(data.Data(NAME), root)
    message = str(error.value)
    assert message.startswith("--data_dir: ") and "\n" not in message
    return message


def replaced(content: bytes | None):
    """A change of a file: other bytes, or nothing, or a folder in its place."""

    def change(path: Path) -> None:
        path.unlink()
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content)

    return change


CHANGES = {
    "gone": Path.unlink,
    "a folder": replaced(None),
    "empty": replaced(b""),
    "rubbish": replaced(b"\xff\0rubbish"),
    "an empty object": replaced(b"{}"),
    "an empty list": replaced(b"[]"),
    "null": replaced(b"null"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:40]),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("file", ["dataset_info.json", "label.labels.txt"])
def test_a_description_which_is_damaged(root, file, change):
    CHANGES[change](folder_in(root) / file)
    message = said(root)
    assert f"{root / NAME}" in message and "is damaged (" in message
    assert message.endswith("delete it, and it is prepared again.")


@pytest.mark.parametrize("change", CHANGES)
def test_a_description_which_is_not_needed(root, sound, change):
    CHANGES[change](folder_in(root) / "features.json")
    assert data.load(data.Data(NAME), root).fingerprint == sound[1]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("split", ["train", "test"])
def test_images_which_are_damaged(root, split, change):
    (shard,) = folder_in(root).glob(f"*-{split}.*")
    CHANGES[change](shard)
    assert f"{folder_in(root)} is damaged (" in said(root)


def test_images_in_one_anothers_place(root):
    first, second = sorted(folder_in(root).glob("*array_record*"))
    first.rename(root / "aside")
    second.rename(first)
    (root / "aside").rename(second)
    assert "is damaged (" in said(root)


# What may lie beside: how to put it there.
BESIDE = {
    "a link to nowhere": lambda folder: (folder / "x").symlink_to("nowhere"),
    "a pipe": lambda folder: os.mkfifo(folder / "x"),
    "a folder": lambda folder: (folder / "x").mkdir(),
    "a folder half prepared": lambda f: (f.parent / "incomplete.0_3.0.2").mkdir(),
    "a folder for the cache": lambda folder: (folder / prepared.CACHE).mkdir(),
    "rubbish for the cache": lambda f: (f / prepared.CACHE).write_bytes(b"rubbish"),
}


@pytest.mark.parametrize("what", BESIDE)
def test_what_may_lie_beside(root, sound, what):
    BESIDE[what](folder_in(root))
    assert data.load(data.Data(NAME), root).fingerprint == sound[1]


def test_what_systems_leave_behind_does_not_outdate_the_cache(root, monkeypatch):
    data.load(data.Data(NAME), root)
    monkeypatch.setattr(prepared, "_read", None)
    (folder_in(root) / ".DS_Store").write_bytes(b"left")
    data.load(data.Data(NAME), root)


def test_a_file_for_the_folder_of_the_dataset(root):
    folder = folder_in(root)
    shutil.rmtree(folder)
    folder.write_bytes(b"")
    assert f"{folder} is damaged (dataset_info.json is missing)" in said(root)


@pytest.mark.parametrize(
    "path",
    [
        "~nobody-of-this-name/x",
        "gs://bucket/x",
        "https://example.org/x",
        "file:///tmp",
        "a\0b",
    ],
)
def test_what_is_no_folder_is_not_made_one(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    assert f"{path!r} is no folder of this machine; give one." in said(path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["/dev/null", "/proc/x", "x" * 5000])
def test_places_where_no_folder_can_be(path):
    assert "holds no prepared cifar10 and cannot be written (" in said(path)


@pytest.mark.parametrize("change", ["empty", "rubbish"])
def test_an_archive_which_is_damaged(root, change):
    shutil.rmtree(root / NAME)
    (archive,) = (root / "downloads/manual").iterdir()
    CHANGES[change](archive)
    with pytest.raises(ValueError, match="wrong checksum of .*replace it by the off"):
        data.load(data.Data(NAME), root)


def test_half_a_download_of_a_killed_process_goes_after_a_day(tmp_path):
    manual = tmp_path / "downloads/manual"
    manual.mkdir(parents=True)
    half = manual / "cifar-10-binary.tar.gz.0.part"
    half.write_bytes(b"half")
    for old in (False, True):
        if old:
            os.utime(half, (1, 1))
        with pytest.raises(ValueError, match="a download failed"):
            data.load(data.Data(NAME), tmp_path)
        assert half.exists() != old


def test_every_dataset_says_how_many_classes_it_has():
    assert prepared.CLASSES.keys() == prepared.SIZES.keys() == archives.BUILDERS.keys()
