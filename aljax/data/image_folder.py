"""A folder, or a zip, of train/<class>/*.png|jpg and test/<class>/*.

Both may lie in one single folder inside. Hidden files and folders are left out, and so
are those which systems leave behind (`tree.LITTER`). What is decoded is kept (`cache`)
under a key which changes when any file does.
"""

import hashlib
import numbers
import posixpath
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from aljax.data import cache
from aljax.data.decoding import check_memory, decode_all
from aljax.data.names import some, unicode
from aljax.data.splits import Splits
from aljax.data.tree import FIELD, Tree, opened
from aljax.limits import LIMITS

LAYOUT = "train/<class>/*.png|jpg and test/<class>/*.png|jpg"
SUFFIXES = {".png", ".jpg", ".jpeg"}
NOTES = {".txt", ".md"}  # allowed beside train/ and test/
LARGEST_FILE = 1 << 29  # bytes; as many pixels as Pillow takes need no more
LARGEST_SIZE = LIMITS["data.image_size"][1]  # pixels a side
CACHE_VERSION = 2  # goes up when the same files give other arrays


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
    with opened(path) as tree:
        index = _index(path, tree, image_size)
        place = cache.place(path, image_size)
        splits = cache.read(place, index.key) if place else None
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
            if place:
                cache.keep(place, index.key, splits)
    return splits


def pool_size(path: str | None, image_size: int | None) -> int:
    """Number of images in train/; raises what `load` raises before it decodes."""
    _check(path, image_size)
    with opened(path) as tree:
        return len(_index(path, tree, image_size).train)


def _check(path: str | None, image_size: int | None) -> None:
    """Refuse options which no folder can satisfy."""
    cache.limit()  # which may be no number
    if not path:
        raise ValueError(
            f"{FIELD}: not set, but image_folder needs it; give a folder or a zip of "
            f"{LAYOUT}."
        )
    if image_size is not None and not _is_side(image_size):
        raise ValueError(
            f"--config.data.image_size: {image_size!r} is not a number of pixels that "
            f"images have; give 1 to {LARGEST_SIZE}, or leave it out if all images "
            "have one size."
        )


def _is_side(pixels: object) -> bool:
    """Whether something is an integer which can be the side of an image."""
    whole = isinstance(pixels, numbers.Integral) and not isinstance(pixels, bool)
    return whole and 1 <= pixels <= LARGEST_SIZE


def _index(path: str, tree: Tree, image_size: int | None) -> Index:
    """Find classes and images, and refuse a tree which is not laid out as said."""
    top = _top(tree)
    folders = {name.removeprefix(top) for name in tree.folders} - {top[:-1]}
    files = {name.removeprefix(top) for name in tree.files}
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
    paths = [[top + name for _, name in split] for split in (train, test)]
    _check_sizes(path, tree, paths[0] + paths[1], image_size)
    digest = hashlib.sha256(f"{CACHE_VERSION}\n".encode())
    for name in paths[0] + paths[1]:
        digest.update(
            f"{name}\0{tree.files[name].stamp}\n".encode("utf-8", "surrogateescape")
        )
    return Index(
        classes=tuple(map(unicode, classes)),
        train=tuple(paths[0]),
        test=tuple(paths[1]),
        train_labels=np.array([label for label, _ in train], np.int32),
        test_labels=np.array([label for label, _ in test], np.int32),
        key=digest.hexdigest(),
    )


def _check_sizes(
    path: str, tree: Tree, names: list[str], image_size: int | None
) -> None:
    """Refuse images which are too large to be read, each or together."""
    large = [name for name in names if tree.files[name].size > LARGEST_FILE]
    if large:
        raise ValueError(
            f"{FIELD}: {path!r} holds images of more than {LARGEST_FILE >> 20} MiB: "
            f"{some(large)}; replace or remove them."
        )
    if image_size is not None:
        check_memory(len(names), image_size, image_size)


def _top(tree: Tree) -> str:
    """The single folder which holds train/ and test/, with its slash; "" if none."""
    firsts = {name.split("/")[0] for name in tree.folders}
    if len(firsts) == 1 and not firsts & {"train", "test"}:
        return f"{firsts.pop()}/"
    return ""


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
        unknown = [_with_twin(name, named["train"]) for name in unknown]
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


def _with_twin(name: str, others: Iterable[str]) -> str:
    """A name, and the other one which only looks like it, if there is one."""

    def plain(text: str) -> str:
        return unicodedata.normalize("NFKC", text).casefold().strip()

    twins = [other for other in sorted(others) if plain(other) == plain(name)]
    return f"{name} (train/ has {ascii(twins[0])})" if twins else name
