"""Folders and zips of small random pictures."""

import io
import re
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aljax import data
from aljax.data import metadata

LAYOUT = ("train/dog/b.png", "train/dog/a.PNG", "train/cat/z.jpeg", "test/cat/q.jpg")
FOUR = ("train/a/1", "train/b/2", "test/a/3", "test/b/4")
WIDE = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
GREY = np.random.default_rng(1).integers(0, 256, (4, 6)).astype(np.uint8)
DEEP = np.random.default_rng(2).integers(0, 65536, (4, 6)).astype(np.uint16)
BITS = np.random.default_rng(3).integers(0, 2, (4, 6)).astype(bool)


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


def taken(tmp_path, data: bytes, shape: tuple[int, ...], suffix=".png") -> np.ndarray:
    """Pixels of a file, which a folder holds four times under a name that may lie."""
    path = plant(tmp_path / "x", {name + suffix: data for name in FOUR})
    image = load(path).train_images[0]
    height, width = shape[:2]
    top, left = (32 - height) // 2, (32 - width) // 2
    inside = image[top : top + height, left : left + width]
    assert image.sum() == inside.sum(), "the image has another size"
    return inside.reshape(shape)


def chunk(kind: bytes, content: bytes, checksum: int | None = None) -> bytes:
    """One chunk of a PNG."""
    body = kind + content
    crc = zlib.crc32(body) if checksum is None else checksum
    return struct.pack(">I", len(content)) + body + struct.pack(">I", crc)


def png_of(width: int, height: int, rows=b"", depth=8, kind=2, interlaced=0) -> bytes:
    """A PNG of which the header tells one thing and the rows, maybe, another."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return metadata.PNG + b"".join(chunk(*parts) for parts in chunks)
