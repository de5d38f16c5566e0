"""A folder, or a zip, of train/<class>/*.png|jpg and test/<class>/*.

Both may lie in one single folder inside. What is decoded is cached below
$XDG_CACHE_HOME or ~/.cache, under a key which changes when any file does.
"""

import contextlib
import hashlib
import os
import posixpath
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aljax.data.decoding import decode_all, some
from aljax.data.splits import Splits, read_cache, write_cache

FIELD = "--config.data.path"
LAYOUT = "train/<class>/*.png|jpg and test/<class>/*.png|jpg"
SUFFIXES = {".png", ".jpg", ".jpeg"}
NOTES = {".txt", ".md"}  # allowed beside train/ and test/
LITTER = {"__macosx", "thumbs.db", "desktop.ini"}  # left by systems, never by people
CACHE_VERSION = 1  # goes up when the same files give other arrays


@dataclass(frozen=True)
class Tree:
    """The files of a folder or zip, by path with slashes from its top."""

    files: dict[str, str]  # path -> what changes when its content does
    folders: set[str]
    read: Callable[[str], bytes]


@dataclass(frozen=True)
class Index:
    """The images of a tree, in their stable order: by class, then by path."""

    classes: tuple[str, ...]
    train: tuple[str, ...]  # paths
    test: tuple[str, ...]
    train_labels: np.ndarray  # int32 [N]
    test_labels: np.ndarray
    key: str  # digest of the images' paths and contents


def load(path: str | None, image_size: int | None) -> Splits:
    """Decode the images of a folder or zip, or read the cache of an earlier time.

    Grey images give one channel if all are grey; any other mixture gives RGB.

    Args:
        path: the folder or the zip.
        image_size: pixels to which the shorter side is resized and the centre cropped;
            None if all images have one size already.

    Raises:
        ValueError: not laid out as in the module's docstring, or images which cannot be
            decoded or differ in size; the message names them.
    """
    _check(path, image_size)
    with _opened(path) as tree:
        index = _index(path, tree)
        name = f"image_folder-{index.key[:32]}-{image_size or 'as_is'}.npz"
        cache = _cache_folder() / name
        splits = read_cache(cache, index.key)
        if splits is None:
            images = decode_all(tree.read, index.train + index.test, image_size)
            cut = len(index.train)
            splits = Splits(
                images[:cut],
                index.train_labels,
                images[cut:],
                index.test_labels,
                index.classes,
            )
            write_cache(cache, index.key, splits)
    return splits


def pool_size(path: str | None, image_size: int | None) -> int:
    """Number of images in train/; raises what `load` raises before it decodes."""
    _check(path, image_size)
    with _opened(path) as tree:
        return len(_index(path, tree).train)


def _check(path: str | None, image_size: int | None) -> None:
    """Refuse options which no folder can satisfy."""
    if path is None:
        raise ValueError(
            f"{FIELD}: not set, but image_folder needs it; give a folder or a zip of "
            f"{LAYOUT}."
        )
    if image_size is not None and image_size < 1:
        raise ValueError(
            f"--config.data.image_size: {image_size} is not a number of pixels; give "
            "1 or more, or leave it out if all images have one size."
        )


def _cache_folder() -> Path:
    """Where decoded images are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "aljax"


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Tree]:
    """The tree at `path`, readable until the context ends."""
    root = Path(path).expanduser()
    if root.is_dir():
        yield _folder_tree(root)
    elif zipfile.is_zipfile(root):
        with _open_zip(root) as archive:
            yield _zip_tree(path, archive)
    elif root.exists():
        raise ValueError(f"{FIELD}: {path!r} is neither a folder nor a zip; give one.")
    else:
        raise ValueError(
            f"{FIELD}: there is nothing at {path!r}; give a folder or zip."
        )


def _open_zip(path: Path) -> zipfile.ZipFile:
    """A zip whose table of contents can be read."""
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"{FIELD}: the zip {str(path)!r} is damaged ({error}); fetch it again."
        ) from error


def _folder_tree(root: Path) -> Tree:
    """Every file below `root`, through symbolic links too; stamped by size and time."""
    files, folders = {}, set()
    try:
        for folder, _, names in os.walk(root, onerror=_raise, followlinks=True):
            relative = Path(folder).relative_to(root).as_posix()
            folders.add(relative)
            for name in names:
                stat = os.stat(os.path.join(folder, name))
                stamp = f"{stat.st_size} {stat.st_mtime_ns}"
                files[posixpath.normpath(f"{relative}/{name}")] = stamp
    except OSError as error:
        raise ValueError(
            f"{FIELD}: {error.filename!r} cannot be read ({error.strerror}); repair or "
            "remove it."
        ) from error
    return Tree(files, folders - {"."}, lambda name: (root / name).read_bytes())


def _raise(error: OSError) -> None:
    """For os.walk, which otherwise passes over what it cannot list."""
    raise error


def _zip_tree(path: str, archive: zipfile.ZipFile) -> Tree:
    """Every file of a zip, stamped by size and checksum."""
    files, folders = {}, set()
    for info in archive.infolist():
        if info.flag_bits & 1:
            raise ValueError(
                f"{FIELD}: {path!r} is encrypted ({info.filename}); unpack it and give "
                "the folder."
            )
        folder = posixpath.dirname(info.filename)  # of "a/b/", a folder, it is "a/b"
        while folder and folder not in folders:
            folders.add(folder)
            folder = posixpath.dirname(folder)
        if not info.is_dir():
            files[info.filename] = f"{info.file_size} {info.CRC:08x}"
    return Tree(files, folders, archive.read)


def _index(path: str, tree: Tree) -> Index:
    """Find classes and images, and refuse a tree which is not laid out as said."""
    top = _top(tree)
    folders = {name.removeprefix(top) for name in _visible(tree.folders)} - {top[:-1]}
    files = {name.removeprefix(top) for name in _visible(tree.files)}
    images = {name for name in files if _is_image(name)}
    _check_layout(path, files - images, folders)
    classes = _classes(path, folders, images)
    labels = {name: label for label, name in enumerate(classes)}
    train, test = (
        sorted(
            (labels[name.split("/")[1]], name)
            for name in images
            if name.startswith(split)
        )
        for split in ("train/", "test/")
    )
    digest = hashlib.sha256(f"{CACHE_VERSION}\n".encode())
    for _, name in train + test:
        digest.update(f"{name}\0{tree.files[top + name]}\n".encode())
    return Index(
        classes=classes,
        train=tuple(top + name for _, name in train),
        test=tuple(top + name for _, name in test),
        train_labels=np.array([label for label, _ in train], np.int32),
        test_labels=np.array([label for label, _ in test], np.int32),
        key=digest.hexdigest(),
    )


def _top(tree: Tree) -> str:
    """The single folder which holds train/ and test/, with its slash; "" if none."""
    firsts = {name.split("/")[0] for name in _visible(tree.folders)}
    if len(firsts) == 1 and not firsts & {"train", "test"}:
        return f"{firsts.pop()}/"
    return ""


def _visible(names: Iterable[str]) -> Iterator[str]:
    """The names less hidden ones and what systems leave behind."""
    for name in names:
        parts = name.lower().split("/")
        if not any(part.startswith(".") or part in LITTER for part in parts):
            yield name


def _is_image(name: str) -> bool:
    """Whether a path is an image of a class."""
    parts = name.split("/")
    in_class = len(parts) >= 3 and parts[0] in ("train", "test")
    return in_class and posixpath.splitext(name)[1].lower() in SUFFIXES


def _check_layout(path: str, others: set[str], folders: set[str]) -> None:
    """Refuse a tree without train/ or test/, or with files which are no images."""
    for split in ("train", "test"):
        if split not in folders:
            found = sorted(name for name in folders if "/" not in name)
            raise ValueError(
                f"{FIELD}: {path!r} has no folder {split}/ (it has "
                f"{some(found) or 'no folders'}); it must hold {LAYOUT}."
            )
    unexpected = sorted(
        name
        for name in others
        if "/" in name or posixpath.splitext(name)[1].lower() not in NOTES
    )
    if unexpected:
        raise ValueError(
            f"{FIELD}: {path!r} holds files which are not PNG or JPEG images of a "
            f"class: {some(unexpected)}; remove them, it must hold {LAYOUT}."
        )


def _classes(path: str, folders: set[str], images: set[str]) -> tuple[str, ...]:
    """The sorted names of the folders in train/, each of which holds an image."""
    named = {split: set() for split in ("train", "test")}
    for name in folders:
        parts = name.split("/")
        if len(parts) == 2 and parts[0] in named:
            named[parts[0]].add(parts[1])
    filled = {"/".join(name.split("/")[:2]) for name in images}
    unknown = sorted(named["test"] - named["train"])
    if unknown:
        raise ValueError(
            f"{FIELD}: {path!r} has classes in test/ which train/ lacks: "
            f"{some(unknown)}; add them to train/ or remove them."
        )
    empty = [f"{s}/{c}" for s in named for c in sorted(named[s])]
    empty = [name for name in empty if name not in filled]
    if empty:
        raise ValueError(
            f"{FIELD}: {path!r} has class folders without a PNG or JPEG image: "
            f"{some(empty)}; fill or remove them."
        )
    if len(named["train"]) < 2 or not named["test"]:
        raise ValueError(
            f"{FIELD}: {path!r} has {len(named['train'])} classes in train/ and "
            f"{len(named['test'])} in test/; it needs 2 or more and 1 or more."
        )
    return tuple(sorted(named["train"]))
