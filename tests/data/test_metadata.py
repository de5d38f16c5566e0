"""Which side of an image is up: where files say it, and how they fail to."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.support.pictures import BITS, DEEP, GREY, WIDE, chunk, saved, taken

RGB = Image.fromarray(WIDE)


def exif(orientation: int) -> Image.Exif:
    data = Image.Exif()
    data[0x0112] = orientation
    return data


def xmp(orientation: int, form: str = 'tiff:Orientation="{}"') -> str:
    return f"<x:xmpmeta><rdf {form.format(orientation)}/></x:xmpmeta>"


def text_chunks(**texts: str) -> PngInfo:
    info = PngInfo()
    for name, text in texts.items():
        info.add_text(name.replace("_", " "), text, zip=True)
    return info


def profile(content: bytes) -> str:
    """A profile as ImageMagick writes it into a PNG."""
    return f"\nexif\n{len(content):8}\n{content.hex()}\n"


def xmp_chunk(text: str) -> PngInfo:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", text)
    return info


# How each orientation of EXIF is turned upright, in terms of rows and columns.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
# Where a file may say which side is up: (pixels as stored, how to save them).
PLACES = {
    "PNG's eXIf": (WIDE, lambda n: dict(exif=exif(n))),
    "eXIf with 16-bit grey": (DEEP, lambda n: dict(exif=exif(n))),
    "eXIf with one bit": (BITS, lambda n: dict(exif=exif(n))),
    "eXIf with 8-bit grey": (GREY, lambda n: dict(exif=exif(n))),
    "PNG's XMP": (WIDE, lambda n: dict(pnginfo=xmp_chunk(xmp(n)))),
    "XMP with 16-bit grey": (DEEP, lambda n: dict(pnginfo=xmp_chunk(xmp(n)))),
    "XMP in single quotes": (
        WIDE,
        lambda n: dict(pnginfo=xmp_chunk(xmp(n, "tiff:Orientation = '{}'"))),
    ),
    "XMP as an element": (
        WIDE,
        lambda n: dict(
            pnginfo=xmp_chunk(f"<tiff:Orientation>{n}</tiff:Orientation>"),
        ),
    ),
    "ImageMagick's profile exif": (
        WIDE,
        lambda n: dict(
            pnginfo=text_chunks(Raw_profile_type_exif=profile(exif(n).tobytes()))
        ),
    ),
    "ImageMagick's profile with 16-bit grey": (
        DEEP,
        lambda n: dict(
            pnginfo=text_chunks(Raw_profile_type_exif=profile(exif(n).tobytes()))
        ),
    ),
    "ImageMagick's profile APP1": (
        WIDE,
        lambda n: dict(
            pnginfo=text_chunks(Raw_profile_type_APP1=profile(exif(n).tobytes()))
        ),
    ),
    "ImageMagick's profile xmp": (
        WIDE,
        lambda n: dict(
            pnginfo=text_chunks(Raw_profile_type_xmp=profile(xmp(n).encode()))
        ),
    ),
    "EXIF, and XMP which says another side": (
        WIDE,
        lambda n: dict(exif=exif(n), pnginfo=xmp_chunk(xmp(1 + n % 8))),
    ),
    "EXIF which says no side, and XMP": (
        WIDE,
        lambda n: dict(exif=exif(0), pnginfo=xmp_chunk(xmp(n))),
    ),
}


def eight_bits(stored: np.ndarray) -> np.ndarray:
    if stored.dtype == np.uint16:
        return stored >> 8
    return stored * 255 if stored.dtype == bool else stored


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("place", PLACES)
def test_an_image_is_turned_upright(tmp_path, place, orientation):
    stored, options = PLACES[place]
    upright = UPRIGHT[orientation](eight_bits(stored))
    data = saved(Image.fromarray(stored), **options(orientation))
    pixels = taken(tmp_path, data, upright.shape)
    np.testing.assert_array_equal(pixels, upright)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(
    "kind, options",
    [
        ("JPEG", lambda n: dict(exif=exif(n), quality=100)),
        ("JPEG", lambda n: dict(xmp=xmp(n).encode(), quality=100)),
        ("MPO", lambda n: dict(exif=exif(n), quality=100)),
        ("WEBP", lambda n: dict(exif=exif(n), lossless=True)),
        ("WEBP", lambda n: dict(xmp=xmp(n).encode(), lossless=True)),
    ],
)
def test_other_kinds_are_turned_upright(tmp_path, kind, options, orientation):
    stored = np.asarray(Image.open(io.BytesIO(saved(RGB, kind, quality=100))))
    if kind == "WEBP":
        stored = WIDE
    upright = UPRIGHT[orientation](stored)
    data = saved(RGB, kind, **options(orientation))
    pixels = taken(tmp_path, data, upright.shape, ".jpg")
    np.testing.assert_array_equal(pixels, upright)


@pytest.mark.parametrize("kind", [b"eXIf", b"zTXt"])
def test_a_side_said_behind_the_pixels_counts(tmp_path, kind):
    content = exif(6).tobytes().removeprefix(b"Exif\0\0")
    if kind == b"zTXt":
        text = zlib.compress(profile(exif(6).tobytes()).encode())
        content = b"Raw profile type exif\0\0" + text
    png = saved(RGB)
    data = png[:-12] + chunk(kind, content) + png[-12:]
    upright = UPRIGHT[6](WIDE)
    np.testing.assert_array_equal(taken(tmp_path, data, upright.shape), upright)


def with_segment(kind: int, content: bytes, jpeg: bytes) -> bytes:
    """A JPEG with one segment more, right after its start."""
    segment = bytes([0xFF, kind]) + struct.pack(">H", len(content) + 2) + content
    return jpeg[:2] + segment + jpeg[2:]


def with_chunk(*parts) -> bytes:
    """A PNG with one chunk more, right after its header."""
    png = saved(RGB)
    return png[:33] + chunk(*parts) + png[33:]


JPEG = saved(RGB, "JPEG")
GOOD_EXIF = exif(6).tobytes()
PHOTOSHOP = b"Photoshop 3.0\0" + b"8BIM\4\4"  # a name should follow
# Metadata which are broken around pixels which are not.
BROKEN = {
    "EXIF is no TIFF": with_segment(0xE1, b"Exif\0\0rubbish" * 9, JPEG),
    "EXIF ends in its header": with_segment(0xE1, GOOD_EXIF[:11], JPEG),
    "EXIF of an unknown byte order": with_segment(
        0xE1, b"Exif\0\0XX*\0\0\0\0\x08" + GOOD_EXIF[14:], JPEG
    ),
    "a Photoshop segment which ends": with_segment(0xED, PHOTOSHOP, JPEG),
    "PNG's EXIF is no TIFF": with_chunk(b"eXIf", b"rubbish" * 9),
    "EXIF profile which is no text": with_chunk(
        b"tEXt", b"Raw profile type exif\0\nexif\n 8\nrubbish\n"
    ),
    "EXIF profile of rubbish": with_chunk(
        b"tEXt", b"Raw profile type exif\0" + profile(b"rubbish").encode()
    ),
    "a text's checksum is wrong": with_chunk(b"tEXt", b"Title\0me", 1),
    "a time of two bytes, its checksum wrong": with_chunk(b"tIME", b"ab", 1),
    "a text which is a bomb": with_chunk(
        b"zTXt", b"Title\0\0" + zlib.compress(bytes(200_000_000), 9)
    ),
    "a density which ends": with_chunk(b"pHYs", b"ab"),
    "a chromaticity which ends": with_chunk(b"cHRM", b"abc"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_metadata_leave_the_image_as_stored(tmp_path, name, warnings_said):
    data = BROKEN[name]
    stored = np.asarray(Image.open(io.BytesIO(JPEG))) if data[:1] == b"\xff" else WIDE
    np.testing.assert_array_equal(taken(tmp_path, data, stored.shape), stored)
    (warning,) = warnings_said
    assert warning == (
        "4 of 4 images have broken metadata, and are taken as they are stored, "
        "whichever side is up: test/a/3.png, test/b/4.png, train/a/1.png, "
        "train/b/2.png"
    )


def test_what_adobe_says_of_the_colours_is_not_taken_for_metadata(tmp_path):
    """These are red, green and blue themselves, and only its segment says so."""
    sound = saved(RGB, "JPEG", keep_rgb=True)
    # Nor do the names of its colours say so, which are "R", "G" and "B" at first.
    sound = sound.replace(b"R\x11\0G\x11\0B", b"\1\x11\0\2\x11\0\3")
    sound = sound.replace(b"R\0G\0B", b"\1\0\2\0\3")
    assert b"Adobe" in sound
    expected = taken(tmp_path / "sound", sound, WIDE.shape)
    broken = with_segment(0xED, PHOTOSHOP, sound)
    found = taken(tmp_path / "broken", broken, WIDE.shape)
    np.testing.assert_array_equal(found, expected)


def test_the_decoder_itself_says_nothing(tmp_path, recwarn):
    """Of EXIF data which end early it warns, by a line of its own source."""
    taken(tmp_path, with_segment(0xE1, GOOD_EXIF[:-9], JPEG), WIDE.shape)
    assert [str(warning.message) for warning in recwarn] == []


# Metadata which are odd, and yet say nothing wrong.
ODD_METADATA = {
    "EXIF which ends early": with_segment(0xE1, GOOD_EXIF[:-9], JPEG),
    "no EXIF behind its name": with_segment(0xE1, b"Exif\0\0", JPEG),
    "an orientation of 9": saved(RGB, exif=exif(9)),
    "an orientation of 0": saved(RGB, exif=exif(0)),
    "XMP of an orientation of 9": saved(RGB, pnginfo=xmp_chunk(xmp(9))),
    "XMP which is no XML": with_segment(
        0xE1, b"http://ns.adobe.com/xap/1.0/\0<<<\xff\xfe", JPEG
    ),
    "a rubbish colour profile": with_segment(0xE2, b"ICC_PROFILE\0rubbish", JPEG),
    "a rubbish Photoshop segment": with_segment(
        0xED, b"Photoshop 3.0\0008BIMrubbish", JPEG
    ),
    "MPO with a rubbish index": with_segment(0xE2, b"MPF\0" + b"rubbish" * 9, JPEG),
    "bytes between segments": JPEG[:2] + b"\xff" * 3 + JPEG[2:],
    "an empty comment": with_segment(0xFE, b"", JPEG),
    "a PNG's rubbish colour profile": with_chunk(b"iCCP", b"x\0\0rubbish"),
    "a PNG's unknown chunk": with_chunk(b"abCd", b"rubbish"),
}


@pytest.mark.parametrize("name", ODD_METADATA)
def test_odd_metadata_say_nothing(tmp_path, name, warnings_said):
    data = ODD_METADATA[name]
    stored = np.asarray(Image.open(io.BytesIO(JPEG))) if data[:1] == b"\xff" else WIDE
    np.testing.assert_array_equal(taken(tmp_path, data, stored.shape), stored)
    assert warnings_said == []
