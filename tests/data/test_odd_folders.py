"""Folders with odd things in them, odd names, and paths to nowhere."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from aljax import data
from aljax.data import image_folder
from tests.support.pictures import encoded, good, load, pack, plant, refused

# What systems leave in folders, as a file and with a file in it.
LEFT_FILES = [
    *(".DS_Store", "._a.png", "Icon\r", ".localized", ".apdisk"),  # macOS
    *("Thumbs.db", "thumbs.DB", "ehthumbs.db", "Desktop.ini"),  # Windows
    *(".directory", ".nfs0000a1", ".fuse_hidden01", ".#a.png", ".a.png.swp"),  # Linux
    *(".gitignore", ".gitkeep", ".picasa.ini"),
]
LEFT_FOLDERS = [
    *("__MACOSX", ".Spotlight-V100", ".Trashes", ".fseventsd", ".AppleDouble"),
    *("Network Trash Folder", "Temporary Items"),
    *("$RECYCLE.BIN", "System Volume Information", "FOUND.000"),
    *("lost+found", ".Trash-1000", ".git", ".ipynb_checkpoints", ".thumbnails"),
    *("@eaDir", "#recycle", "#snapshot", "@Recycle", "@Recently-Snapshot"),
    *(".@__thumb", ".sync", ".stfolder", ".dvc"),
]
PLACES = ["", "train/", "train/cat/", "test/dog/", "test/"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["folder", "inner", "zip"])
def test_what_systems_leave_behind_is_no_image_and_no_class(tmp_path, kind, place):
    files = good() | {"test/dog/x.png": encoded(9)}
    left = {f"{place}{name}": b"left" for name in LEFT_FILES}
    left |= {f"{place}{name}/a.png": b"left" for name in LEFT_FOLDERS}
    left |= {f"{place}{name}/deeper/SYNO@.jpg": b"left" for name in LEFT_FOLDERS}
    expected = load(plant(tmp_path / "clean", files)).fingerprint
    everything = left | files
    if kind == "inner":
        everything = {f"my images/{name}": body for name, body in everything.items()}
        everything |= {f"{name}/x.png": b"left" for name in LEFT_FOLDERS}
    if kind == "zip":
        path = pack(tmp_path / "x.zip", everything)
    else:
        path = plant(tmp_path / "x", everything)
    assert load(path).fingerprint == expected
    assert data.pool_size(data.Data("image_folder", str(path))) == 3


@pytest.mark.parametrize("name", ["@home", "#1", "recycled", "found", "thumbs", "icon"])
def test_classes_which_only_sound_like_that(tmp_path, name):
    files = {f"{split}/{name}/1.png": encoded(7) for split in ("train", "test")}
    assert name in load(plant(tmp_path / "x", good() | files)).classes


def test_what_is_left_behind_is_not_even_looked_at(stranger):
    """Only root may look into lost+found; emacs locks a file by a link to nowhere."""
    path = plant(stranger / "x", good() | {"train/lost+found/1.png": b""})
    (path / "train/lost+found").chmod(0)
    (path / "train/cat/.#z.jpeg").symlink_to("me@here.1234")
    os.mkfifo(path / "test/cat/.pipe.png")
    assert load(path).classes == ("cat", "dog")


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        here = os.open(path.parent, os.O_RDONLY)  # the length of its path is limited
        one.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)


# Entries which are no files: (how to make one, what is said).
SPECIAL = {
    "a pipe": (os.mkfifo, "is a named pipe, not an image; remove it."),
    "a socket": (make_socket, "is a socket, not an image; remove it."),
    "a link to a device": (
        lambda path: path.symlink_to("/dev/zero"),
        "is a device, not an image; remove it.",
    ),
    "a link to itself": (
        lambda path: path.symlink_to(path),
        "cannot be read (Too many levels of symbolic links); repair or remove it.",
    ),
    "a link to nowhere": (
        lambda path: path.symlink_to("nowhere"),
        "cannot be read (No such file or directory); repair or remove it.",
    ),
    "a link to its class": (
        lambda path: path.symlink_to(path.parent),
        "is a link to a folder that holds it; remove it.",
    ),
    "a link to the top": (
        lambda path: path.symlink_to("../.."),
        "is a link to a folder that holds it; remove it.",
    ),
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_entries_which_are_no_files(tmp_path, kind):
    make, message = SPECIAL[kind]
    path = plant(tmp_path / "x", good())
    make(path / "train/cat/odd.png")
    refused(path, f"--config.data.path: {str(path / 'train/cat/odd.png')!r} {message}")
    with pytest.raises(ValueError, match="odd.png"):
        data.pool_size(data.Data("image_folder", str(path)))


def test_two_links_which_lead_to_each_other(tmp_path):
    """Walked through, they would hold a million paths."""
    path = plant(tmp_path / "x", good() | {"train/cat/a/1.png": encoded(5)})
    (path / "train/cat/a/b").symlink_to("..")
    (path / "train/cat/c").symlink_to("a")
    refused(path, "is a link to a folder that holds it; remove it.")


def test_links_to_files_and_folders_elsewhere(tmp_path):
    real = plant(tmp_path / "real", good())
    path = plant(tmp_path / "x", {"train/": b""})
    for name in ("train/dog", "test"):
        (path / name).symlink_to(real / name)
    (path / "train/cat").mkdir()
    (path / "train/cat/z.jpeg").symlink_to(real / "train/cat/z.jpeg")
    (tmp_path / "link").symlink_to(path)
    assert load(tmp_path / "link").fingerprint == load(real).fingerprint


def test_two_classes_which_are_one_folder(tmp_path):
    path = plant(tmp_path / "x", good())
    (path / "train/kitten").symlink_to("cat")
    assert load(path).classes == ("cat", "dog", "kitten")


def test_folders_below_one_another_a_thousand_times(tmp_path):
    """More than Python calls itself, and nearly as long as a path may be."""
    path = plant(tmp_path / "x", good())
    here = os.open(path / "train/cat", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        deeper = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    try:
        assert load(path).classes == ("cat", "dog")
    finally:  # Python's own way to remove folders calls itself
        subprocess.run(["rm", "-rf", path / "train/cat/d"], check=True)


@pytest.mark.parametrize("what", ["train/cat/z.jpeg", "train/cat", "train", ""])
def test_files_and_folders_which_one_may_not_read(stranger, what):
    path = plant(stranger / "x", good())
    (path / what).chmod(0)
    try:
        message = refused(path, "(Permission denied)")
    finally:
        (path / what).chmod(0o700)
    assert (what or str(path)) in message


def test_a_zip_which_one_may_not_read(stranger):
    path = pack(stranger / "x.zip", good())
    path.chmod(0)
    refused(path, "x.zip' cannot be read (Permission denied); repair or remove it.")


def test_a_folder_which_one_may_not_enter(stranger):
    path = plant(stranger / "locked/x", good())
    path.parent.chmod(0)
    try:
        refused(path, "x' cannot be read (Permission denied); repair or remove it.")
    finally:
        path.parent.chmod(0o700)


# Paths to nothing of use: (path, what is said).
PATHS = {
    "empty": ("", "--config.data.path: not set"),
    "missing": ("/nowhere/x", "there is nothing at '/nowhere/x'"),
    "below a file": (f"{__file__}/x", "there is nothing at"),
    "someone unknown": ("~nobody-of-this-name/x", "there is nothing at '~nobody-of-"),
    "a NUL": ("a\0b", r"there is nothing at 'a\x00b'"),
    "too long": ("x" * 5000, "cannot be read (File name too long)"),
    "not UTF-8": ("/caf\udce9", r"there is nothing at '/caf\udce9'"),
    "an address": ("https://example.org/x.zip", "there is nothing at 'https://exam"),
    "a device": ("/dev/zero", "'/dev/zero' is neither a folder nor a zip; give one."),
    "text": (__file__, "is neither a folder nor a zip; give one."),
}


@pytest.mark.parametrize("name", PATHS)
def test_paths_to_nothing_of_use(name):
    path, message = PATHS[name]
    for function in (data.load, data.pool_size):
        with pytest.raises(ValueError) as error:
            function(data.Data("image_folder", path))
        assert message in str(error.value)
        assert str(error.value).encode(), "it can be printed"


@pytest.mark.parametrize("top", ["", "inner/"])
def test_a_folder_of_all_that_one_has_is_not_walked_through(tmp_path, top):
    """As `~` or `/`, where links lead nowhere and walking takes an hour."""
    path = plant(tmp_path / "x", {f"{top}one/1.png": b"", f"{top}two/1.png": b""})
    (path / f"{top}one/link").symlink_to("nowhere")
    refused(path, "has no folder train/ (it has one, two); it must hold train/<class>")


def test_a_pipe_for_a_folder(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "is neither a folder nor a zip; give one.")


def test_a_home_which_nobody_has(tmp_path, monkeypatch):
    """As in containers that run under a number which no user has."""
    monkeypatch.setenv("HOME", "~")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.chdir(tmp_path)
    assert load(plant(tmp_path / "x", good())).classes == ("cat", "dog")
    assert not (tmp_path / "~").exists()


def test_a_file_too_large_for_an_image_is_not_read(tmp_path, monkeypatch):
    path = plant(tmp_path / "x", good())
    for number in range(7):
        with open(path / f"train/cat/{number}.png", "wb") as file:
            file.truncate(600_000_000)  # without a block on the disk
    monkeypatch.setattr(Path, "read_bytes", None)
    message = "holds images of more than 512 MiB: train/cat/0.png, train/cat/1.png,"
    assert "and 2 more; replace or remove" in refused(path, message)
    with pytest.raises(ValueError, match="more than 512 MiB"):
        data.pool_size(data.Data("image_folder", str(path)))


def test_a_file_which_vanishes_meanwhile(tmp_path, monkeypatch):
    path = plant(tmp_path / "x", good())
    index = image_folder._index

    def slow(*arguments):
        found = index(*arguments)
        (path / "train/cat/z.jpeg").unlink()
        return found

    monkeypatch.setattr(image_folder, "_index", slow)
    refused(path, "1 of 4 images cannot be decoded: train/cat/z.jpeg (No such file or")
