"""Image files which are odd or damaged: how each is taken, or refused by its name."""

import zlib

import numpy as np
import pytest
from PIL import Image

from aljax.data import decoding
from tests.support.pictures import (
    BITS,
    DEEP,
    FOUR,
    GREY,
    WIDE,
    encoded,
    plant,
    png_of,
    refused,
    saved,
    taken,
)

RGB = Image.fromarray(WIDE)
PALE = np.random.default_rng(4).integers(100, 110, (8, 8, 3)).astype(np.uint8)
JPEG = saved(RGB, "JPEG")


def first_frame(kind: str) -> bytes:
    options = dict(save_all=True, append_images=[Image.fromarray(WIDE[::-1])])
    return saved(RGB, kind, lossless=True, **options)


def colours_of_16_bits() -> bytes:
    """A file which Pillow cannot write: each row begins with its filter, none."""
    words = (WIDE * 256.0 + 77).astype(">u2")
    return png_of(6, 4, b"".join(b"\0" + row.tobytes() for row in words), depth=16)


def clear_palette() -> Image.Image:
    image = Image.fromarray(GREY // 64).convert("P")
    image.putpalette([9, 8, 7, 60, 50, 40, 130, 120, 110, 210, 200, 190])
    return image


COLOURS = np.array([[9, 8, 7], [60, 50, 40], [130, 120, 110], [210, 200, 190]])
# Kinds of files: (bytes, suffix, pixels).
KINDS = {
    "16-bit grey": (saved(Image.fromarray(DEEP)), ".png", DEEP >> 8),
    "16-bit colours": (colours_of_16_bits(), ".png", WIDE),
    "one bit": (saved(Image.fromarray(BITS)), ".png", BITS * 255),
    "grey and alpha": (
        saved(Image.fromarray(np.stack([GREY, GREY[::-1]], -1))),
        ".png",
        GREY,
    ),
    "colours and alpha": (
        saved(Image.fromarray(np.concatenate([WIDE, WIDE[::-1, :, :1]], -1))),
        ".png",
        WIDE,
    ),
    "palette": (saved(clear_palette()), ".png", COLOURS[GREY // 64]),
    "palette with a clear colour": (
        saved(clear_palette(), transparency=1),
        ".png",
        COLOURS[GREY // 64],
    ),
    "palette with alphas": (
        saved(clear_palette(), transparency=bytes([0, 99, 255, 3])),
        ".png",
        COLOURS[GREY // 64],
    ),
    "grey with a clear shade": (
        saved(Image.fromarray(GREY), transparency=7),
        ".png",
        GREY,
    ),
    "colours with a clear one": (
        saved(RGB, transparency=(1, 2, 3)),
        ".png",
        WIDE,
    ),
    "animated PNG": (first_frame("PNG"), ".png", WIDE),
    "animated WebP named PNG": (first_frame("WEBP"), ".png", WIDE),
    "animated GIF named PNG": (
        saved(
            clear_palette(), "GIF", save_all=True, append_images=[Image.fromarray(GREY)]
        ),
        ".PnG",
        COLOURS[GREY // 64],
    ),
    "BMP named JPEG": (saved(RGB, "BMP"), ".JPG", WIDE),
    "PNG named JPEG": (saved(RGB), ".Jpeg", WIDE),
    "grey of two bits": (
        png_of(4, 1, b"\0\x1b", depth=2, kind=0),
        ".png",
        np.array([[0, 85, 170, 255]]),
    ),
    "interlaced": (
        png_of(1, 1, b"\0\1\2\3", interlaced=1),
        ".png",
        np.array([[[1, 2, 3]]]),
    ),
    "no end": (saved(RGB)[:-12], ".png", WIDE),
    "a wrong checksum of the end": (
        saved(RGB)[:-1] + b"x",
        ".png",
        WIDE,
    ),
    "BMP of 32 bits": (
        saved(RGB.convert("RGBA"), "BMP"),
        ".png",
        WIDE,
    ),
    "bytes behind the image": (
        saved(RGB) + b"rest" * 9,
        ".png",
        WIDE,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_files(tmp_path, kind):
    data, suffix, pixels = KINDS[kind]
    found = taken(tmp_path, data, pixels.shape, suffix)
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize(
    "mode, options",
    [("CMYK", {}), ("RGB", {"progressive": True}), ("RGB", {"subsampling": 2})],
)
def test_jpegs_of_all_sorts_are_near_to_what_was_saved(tmp_path, mode, options):
    # Black ink lightens by rounding: pale colours have none.
    data = saved(Image.fromarray(PALE).convert(mode), "JPEG", quality=95, **options)
    pixels = taken(tmp_path, data, PALE.shape, ".jpg")
    np.testing.assert_allclose(pixels, PALE.astype(int), atol=12)


FRAME = JPEG.index(b"\xff\xc0")  # JPEG's header, with its size


def with_frame(start: int, content: bytes) -> bytes:
    """A JPEG whose header has other bytes at one place."""
    at = FRAME + start
    return JPEG[:at] + content + JPEG[at + len(content) :]


PHOTO = encoded(1, size=(90, 60), kind="JPEG")
PLAIN = encoded(1, size=(90, 60))
# Files without an image: (bytes, image_size, what is said).
NO_IMAGES = {
    "a line before a PNG": (b"\n" + PLAIN, None, "(neither PNG nor JPEG)"),
    "a mark before a JPEG": (b"\xef\xbb\xbf" + PHOTO, None, "(neither PNG nor JPEG)"),
    "a PNG sent as text": (PLAIN.replace(b"\r\n", b"\n"), None, "(neither PNG nor"),
    "an icon": (saved(Image.new("RGB", (16, 16)), "ICO"), None, "(neither PNG nor"),
    "PPM": (saved(RGB, "PPM"), None, "(neither PNG nor JPEG)"),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", None, "(neither PNG nor JPEG)"),
    "a GIF without a picture": (b"GIF89a\6\0\4\0\0\0\0;", None, "(neither PNG nor"),
    "half a WebP": (
        saved(RGB, "WEBP")[:30],
        None,
        "(could not create deco",
    ),
    "a kind no PNG is of": (png_of(2, 1, b"\0abcdef", kind=5), None, "(a damaged PNG)"),
    "a depth no PNG has": (png_of(2, 1, b"\0abc", depth=3), None, "(a damaged PNG)"),
    "a filter no PNG has": (png_of(2, 1, b"\tabcdef"), None, "(unrecognized data str"),
    "pixels which are not packed": (
        png_of(2, 1).replace(zlib.compress(b""), b"rubbish!"),
        None,
        "(broken data stream when reading image file)",
    ),
    "a JPEG without pixels": (
        JPEG[: JPEG.index(b"\xff\xda")],
        None,
        "(cannot load this image)",
    ),
    "a JPEG without its end": (JPEG[:-2], None, "(image file is truncated"),
    "a JPEG which is lossless": (with_frame(1, b"\xc3"), None, "(broken data stream"),
    "a JPEG of 12 bits": (with_frame(4, b"\x0c"), None, "(a damaged JPEG)"),
    "a JPEG without rows": (with_frame(5, b"\0\0"), None, "(a damaged JPEG)"),
    "the largest JPEG": (with_frame(5, b"\xff" * 4), None, "(more than 179 million"),
    "450 MB by a JPEG's header": (
        with_frame(5, b"\x30\0\x30\0"),
        8,
        f"({len(JPEG)} bytes, too few for the 12288x12288 pixels that it declares)",
    ),
    "no bytes": (b"", None, "(the file is empty)"),
    "rubbish": (b"rubbish" * 99, None, "(neither PNG nor JPEG)"),
    "a web page": (b"<!DOCTYPE html><html>", None, "(neither PNG nor JPEG)"),
    "TIFF": (saved(RGB, "TIFF"), None, "(neither PNG nor JPEG)"),
    "EPS": (saved(RGB, "EPS"), None, "(neither PNG nor JPEG)"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None, "(neither PNG nor"),
    "a pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
        None,
        "(a pointer of Git LFS instead of the image)",
    ),
    "half a JPEG": (PHOTO[: len(PHOTO) // 2], None, "(image file is truncated"),
    "half a PNG": (PLAIN[: len(PLAIN) // 2], None, "(image file is truncated"),
    "a JPEG's first bytes": (PHOTO[:20], None, "(a damaged JPEG)"),
    "a JPEG's first four bytes": (PHOTO[:4], None, "(a damaged JPEG)"),
    "a PNG's first bytes": (PLAIN[:20], None, "(Truncated File Read)"),
    "a PNG's first nine bytes": (PLAIN[:9], None, "(a damaged PNG)"),
    "PNG with another header": (
        PLAIN[:16] + b"\xff" * 8 + PLAIN[24:],
        None,
        "(a damaged PNG)",
    ),
    "a PNG without columns": (png_of(0, 9), None, "(a damaged PNG)"),
    "600 MB by its header": (
        png_of(20_000, 10_000),
        None,
        "(more than 179 million pixels)",
    ),
    "400 MB by its header": (
        png_of(12_000, 12_000),
        8,
        "(65 bytes, too few for the 12000x12000 pixels that it declares)",
    ),
    "a hair": (
        encoded(1, size=(40_000, 1)),
        512,
        "(its 40000x1 pixels are too long for a square)",
    ),
}


@pytest.mark.parametrize("name", NO_IMAGES)
def test_files_without_an_image(tmp_path, name):
    data, image_size, reason = NO_IMAGES[name]
    files = {f"{at}.png": encoded(1, size=(90, 60)) for at in FOUR}
    path = plant(tmp_path / "x", files | {"train/b/odd.jpg": data})
    message = refused(
        path, "1 of 5 images cannot be decoded: train/b/odd.jpg", image_size
    )
    assert reason in message and "replace or remove them" in message
    assert "<_io" not in message and "0x7" not in message
    message = refused(
        plant(tmp_path / "y", {f"{at}.png": data for at in FOUR}),
        "none of its 4 images can be decoded, among them test/a/3.png, test/b/4.png,",
        image_size,
    )
    assert f"(the first: {reason.removeprefix('(')}" in message


def test_what_is_declared_is_not_allocated(tmp_path, monkeypatch):
    """Pillow asks for all pixels at once, and finds out later that they lack."""
    path = plant(tmp_path / "x", {f"{at}.png": png_of(9_000, 9_000) for at in FOUR})
    asked = []
    new = Image.core.new
    monkeypatch.setattr(
        Image.core, "new", lambda mode, size: asked.append(size) or new(mode, size)
    )
    for image_size in (None, 8):
        refused(path, "none of its 4 images can be decoded", image_size)
    assert asked == []


def test_a_decoder_in_little_words():
    assert decoding._reason(EOFError()) == "EOFError"
    assert decoding._reason(ValueError("two\n lines")) == "two lines"
    assert decoding._reason(PermissionError(13, "Permission denied", "x")) == (
        "Permission denied"
    )


def test_a_disk_which_fails_for_a_while(tmp_path):
    """When the usual size is looked for, and no more when all are read."""
    reads = []

    def read(name):
        reads.append(name)
        if len(reads) <= 4:
            raise OSError(5, "Input/output error")
        return PLAIN

    with pytest.raises(ValueError, match="could not be read at first"):
        decoding.decode_all(read, FOUR, None)
    assert decoding.decode_all(read, FOUR, None).shape == (4, 60, 90, 3)


@pytest.mark.parametrize(
    "side, image_size, threads",
    [(1, None, 1), (32, None, 1), (64, None, 3), (224, None, 16), (32, 32, 16)],
)
def test_small_images_have_few_threads(monkeypatch, side, image_size, threads):
    monkeypatch.setattr(decoding.os, "cpu_count", lambda: 16)
    assert decoding._threads((side, side), image_size) == threads
