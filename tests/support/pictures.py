"""Folders and zips of small random pictures."""

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aljax import data

LAYOUT = ("train/dog/b.png", "train/dog/a.PNG", "train/cat/z.jpeg", "test/cat/q.jpg")


def encoded(seed: int = 0, mode: str = "RGB", size=(10, 10), kind="PNG", **options):
    """Bytes of a random image; size is (width, height) as in Pillow."""
    channels = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,)}[mode]
    shape = (size[1], size[0], *channels)
    pixels = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    return saved(Image.fromarray(pixels), kind, **options)


def saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def plant(root: Path, files: dict[str, bytes]) -> Path:
    """Write files below a folder; a name which ends in / is an empty folder."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.write_bytes(content)
    return root


def pack(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def good() -> dict[str, bytes]:
    """Four images in two classes, 10x10, lossless or not."""
    kinds = {".jpeg": "JPEG", ".jpg": "JPEG"}
    return {
        name: encoded(seed, kind=kinds.get(Path(name).suffix, "PNG"))
        for seed, name in enumerate(LAYOUT)
    }


def load(path: Path, image_size: int | None = None) -> data.Dataset:
    return data.load(data.Data("image_folder", str(path), image_size))


def refused(path: Path, message: str, image_size: int | None = None) -> str:
    """What `load` says, in one line which holds `message`."""
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        load(path, image_size)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("--config.data.")
    return str(error.value)
