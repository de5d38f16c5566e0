"""Decode PNG and JPEG files into one array, on all cores."""

import contextlib
import io
import lzma
import os
import struct
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from absl import logging
from PIL import Image, UnidentifiedImageError

from aljax.data import metadata
from aljax.data.names import some

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")  # names often hide the last three
BATCH = 256  # files which a thread takes at a time
SAMPLE = 31  # images which tell what size most have
# A thread for each so many pixels of an image: the interpreter's lock is held for
# as long as decoding 32x32 of them takes, and more threads would only fight for it.
THREAD_PIXELS = 2048
# Deflate packs at most 1032 bytes, of eight pixels each, into one (zlib's manual).
DENSEST = 8 * 1032  # pixels in a byte of a file
LONGEST = 1 << 28  # pixels of an image whose shorter side has been resized

# What Pillow and zipfile raise on damaged files; Pillow documents no common base.
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    NotImplementedError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    Image.DecompressionBombError,
)
UNIDENTIFIED = {  # how a file begins, and what is wrong if it cannot be opened
    metadata.PNG: "a damaged PNG",
    metadata.JPEG: "a damaged JPEG",
    b"version https://git-lfs": "a pointer of Git LFS instead of the image",
}


class Decoded(NamedTuple):
    """One image, and whether its metadata could say which side is up."""

    pixels: np.ndarray  # uint8 [H, W] or [H, W, 3]
    readable: bool


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
        ValueError: files which cannot be decoded, of several sizes, or beyond memory;
            names them.
    """
    with warnings.catch_warnings():
        # What matters of odd metadata and many pixels is said below, by name.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        size = (image_size,) * 2 if image_size else _usual_size(read, names)
        check_memory(len(names), *size)
        images = np.empty((len(names), *size, 3), np.uint8)
        findings = _Findings(names)

        def work(start: int) -> None:
            for at in range(start, min(start + BATCH, len(names))):
                image = findings.decode(at, read, image_size)
                if image is not None and image.shape[:2] == size:
                    images[at] = image if image.ndim == 3 else image[..., None]

        with ThreadPoolExecutor(_threads(size, image_size)) as pool:
            list(pool.map(work, range(0, len(names), BATCH)))
    findings.check(size)
    return np.ascontiguousarray(images[..., :1]) if findings.grey.all() else images


def decode(data: bytes, image_size: int | None) -> Decoded:
    """Decode one file, turned upright as its EXIF or XMP data say.

    Args:
        data: the file's bytes.
        image_size: S resizes the shorter side to S pixels (bilinear, antialiased) and
            crops the central S x S, as torchvision's Resize and CenterCrop do; None
            leaves the size.

    Returns:
        uint8 [H, W] of a grey image (16 bits are scaled to 8), else RGB [H, W, 3];
        transparency is dropped, and of an animation the first picture taken. Where
        broken metadata hide which side is up, the image stays as it is stored.

    Raises:
        one of `DAMAGED`: no image, or one which is damaged.
    """
    if not data:
        raise ValueError("the file is empty")
    try:
        return _decode(data, image_size)
    except DAMAGED as error:
        # Broken metadata stop Pillow, though the pixels may be sound.
        bare = metadata.stripped(data)
        if bare == data:
            raise
        try:
            return _decode(bare, image_size)._replace(readable=False)
        except DAMAGED:
            raise error from None


def _decode(data: bytes, image_size: int | None) -> Decoded:
    with _opened(data) as file:
        if file.width * file.height > DENSEST * len(data):
            raise ValueError(
                f"{len(data)} bytes, too few for the {file.width}x{file.height} pixels "
                "that it declares"
            )
        image = _plain(file)
        try:
            turn, readable = metadata.TURNS.get(metadata.orientation(file.info)), True
        except ValueError:
            turn, readable = None, False
    if turn is not None:
        image = image.transpose(turn)
    if image_size is not None:
        image = _square(image, image_size)
    return Decoded(np.asarray(image), readable)


def _opened(data: bytes) -> Image.Image:
    """The image in a file, its pixels still unread."""
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        most = 2 * Image.MAX_IMAGE_PIXELS  # up to which Pillow only warns
        raise ValueError(f"more than {most / 1e6:.0f} million pixels") from error
    except UnidentifiedImageError as error:  # which only tells the address of `data`
        starts = (
            what for start, what in UNIDENTIFIED.items() if data.startswith(start)
        )
        raise ValueError(next(starts, "neither PNG nor JPEG")) from error


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
    if width * height > LONGEST:
        raise ValueError(
            f"its {image.width}x{image.height} pixels are too long for a square"
        )
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def _usual_size(read: Callable[[str], bytes], names: Sequence[str]) -> tuple[int, int]:
    """Height and width of most of some evenly spaced images; (0, 0) if none decodes."""
    spaced = np.linspace(0, len(names) - 1, SAMPLE, dtype=int)
    sizes = Counter()
    for at in np.unique(spaced):
        with contextlib.suppress(*DAMAGED):  # which are named when all are decoded
            sizes[decode(read(names[at]), None).pixels.shape[:2]] += 1
    return sizes.most_common(1)[0][0] if sizes else (0, 0)


def _threads(size: tuple[int, int], image_size: int | None) -> int:
    """How many threads decode images of this size; what is resized may be larger."""
    most = os.cpu_count() or 1
    return most if image_size else min(most, 1 + size[0] * size[1] // THREAD_PIXELS)


class _Findings:
    """What decoding finds out about the files, which ends in one message or none."""

    def __init__(self, names: Sequence[str]):
        self.names = names
        self.grey = np.zeros(len(names), bool)
        self.sizes = np.zeros((len(names), 2), int)  # height, width
        self.damaged: dict[str, str] = {}  # name -> why
        self.unreadable: list[str] = []  # whose metadata are

    def decode(
        self, at: int, read: Callable[[str], bytes], image_size: int | None
    ) -> np.ndarray | None:
        """The pixels of one file, as `decode` gives them; None if it is damaged."""
        name = self.names[at]
        try:
            image, readable = decode(read(name), image_size)
        except DAMAGED as error:
            self.damaged[name] = _reason(error)
            return None
        if not readable:
            self.unreadable.append(name)
        self.grey[at], self.sizes[at] = image.ndim == 2, image.shape[:2]
        return image

    def check(self, size: tuple[int, int]) -> None:
        """Refuse files which cannot be used, and warn of those in doubt."""
        if self.damaged:
            self._refuse_damaged()
        self._check_sizes()
        if tuple(self.sizes[0]) != size:
            raise ValueError(
                "--config.data.path: its images could not be read at first, and could "
                "a moment later; try again when nothing changes them."
            )
        if self.unreadable:
            logging.warning(
                "%d of %d images have broken metadata, and are taken as they "
                "are stored, whichever side is up: %s",
                len(self.unreadable),
                len(self.names),
                some(sorted(self.unreadable)),
            )

    def _refuse_damaged(self) -> None:
        names, count = sorted(self.damaged), len(self.names)
        reason = self.damaged[names[0]]
        if len(names) == count:
            raise ValueError(
                f"--config.data.path: none of its {count} images can be decoded, among "
                f"them {some(names)} (the first: {reason}); give PNG or JPEG images."
            )
        first = "" if len(names) == 1 else "the first: "
        raise ValueError(
            f"--config.data.path: {len(names)} of {count} images cannot be decoded: "
            f"{some(names)} ({first}{reason}); replace or remove them."
        )

    def _check_sizes(self) -> None:
        sizes = Counter(map(tuple, self.sizes.tolist()))
        if len(sizes) == 1:
            return
        (height, width), usual = sizes.most_common(1)[0]
        odd = sorted(
            f"{name} ({w}x{h})"
            for name, (h, w) in zip(self.names, self.sizes.tolist(), strict=True)
            if (h, w) != (height, width)
        )
        raise ValueError(
            f"--config.data.path: {len(odd)} of {len(self.names)} images are not "
            f"{width}x{height} pixels like the other {usual}: {some(odd)}; "
            "set --config.data.image_size to resize and crop all of them."
        )


def _reason(error: Exception) -> str:
    """Why a file cannot be decoded, in one line without the decoder's own objects."""
    text = error.strerror if isinstance(error, OSError) else None
    return " ".join((text or str(error) or type(error).__name__).split())


def check_memory(count: int, height: int, width: int) -> None:
    """Refuse images which cannot be in memory at once, as three bytes a pixel.

    Raises:
        ValueError: they take more than this machine has.
    """
    needed, memory = 3 * count * height * width, _memory()
    if needed > memory:
        raise ValueError(
            f"--config.data.image_size: {count} images of {width}x{height} pixels take "
            f"{needed / 1e9:.1f} GB, and this machine has {memory / 1e9:.1f} GB of "
            "memory; give a smaller size."
        )


def _memory() -> int:
    """Bytes of memory in this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
