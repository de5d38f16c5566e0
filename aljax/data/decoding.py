"""Decode PNG and JPEG files into one array, on all cores."""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image, ImageOps

BATCH = 256  # files which a thread takes at a time
NAMED = 5  # files which a message names before it counts

# What Pillow and zipfile raise on damaged files; Pillow documents no common base.
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    NotImplementedError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    Image.DecompressionBombError,
)


def decode_all(
    read: Callable[[str], bytes], names: Sequence[str], image_size: int | None
) -> np.ndarray:
    """Decode files into one array.

    Args:
        read: name -> bytes of the file; called from several threads.
        names: the files, in the order of the result.
        image_size: see `decode`.

    Returns:
        uint8 [N, H, W, 1] if every image is grey, else [N, H, W, 3].

    Raises:
        ValueError: files which cannot be decoded, or of several sizes; names them.
    """
    first = _first(read, names, image_size)
    images = np.empty((len(names), *first.shape[:2], 3), np.uint8)
    grey = np.zeros(len(names), bool)
    damaged: dict[str, Exception] = {}
    odd: dict[str, tuple[int, ...]] = {}

    def work(start: int) -> None:
        for at, name in enumerate(names[start : start + BATCH], start):
            try:
                image = decode(read(name), image_size)
            except DAMAGED as error:
                damaged[name] = error
                continue
            grey[at] = image.ndim == 2
            if image.shape[:2] == first.shape[:2]:
                images[at] = image[..., None] if grey[at] else image
            else:
                odd[name] = image.shape[:2]

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(work, range(0, len(names), BATCH)))
    _refuse(damaged, odd, first.shape[:2], len(names))
    return np.ascontiguousarray(images[..., :1]) if grey.all() else images


def decode(data: bytes, image_size: int | None) -> np.ndarray:
    """Decode one file, turned upright as its EXIF data say.

    Args:
        data: the file's bytes.
        image_size: S resizes the shorter side to S pixels (bilinear, antialiased) and
            crops the central S x S, as torchvision's Resize and CenterCrop do; None
            leaves the size.

    Returns:
        uint8 [H, W] of a grey image (16 bits are scaled to 8), else RGB [H, W, 3];
        transparency is dropped.
    """
    with Image.open(io.BytesIO(data)) as file:
        image = _plain(file)
        if "exif" in file.info:
            image = ImageOps.exif_transpose(image)
    return np.asarray(image if image_size is None else _square(image, image_size))


def _plain(image: Image.Image) -> Image.Image:
    """An image of mode L for grey ones, RGB for the others."""
    if image.mode.startswith("I"):  # 16-bit grey, which convert() would clip at 255
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("L", "LA", "1"):
        return image.convert("L")
    if image.mode == "P":  # by way of RGBA, since a palette may hold transparency
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def _square(image: Image.Image, size: int) -> Image.Image:
    """The central square of an image whose shorter side is resized to `size`."""
    short = min(image.size)
    width, height = (size * side // short for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def _first(
    read: Callable[[str], bytes], names: Sequence[str], image_size: int | None
) -> np.ndarray:
    """The first image which can be decoded: the others must have its size."""
    for name in names:
        try:
            return decode(read(name), image_size)
        except DAMAGED:
            continue  # named by decode_all if another can be decoded
    raise ValueError(
        f"--config.data.path: none of its {len(names)} images can be decoded, among "
        f"them {some(names)}; give PNG or JPEG images."
    )


def _refuse(
    damaged: dict[str, Exception],
    odd: dict[str, tuple[int, ...]],
    usual: tuple[int, ...],
    count: int,
) -> None:
    """Name the files which cannot be used, if there are any."""
    if damaged:
        names = sorted(damaged)
        raise ValueError(
            f"--config.data.path: {len(names)} of {count} images cannot be decoded: "
            f"{some(names)} ({damaged[names[0]]}); replace or remove them."
        )
    if odd:
        height, width = usual
        raise ValueError(
            f"--config.data.path: {len(odd)} of {count} images are not "
            f"{width}x{height} pixels like the first: {some(sorted(odd))}; "
            "set --config.data.image_size to resize and crop all of them."
        )


def some(names: Sequence[str]) -> str:
    """The first few names and a count of the others."""
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
