"""What metadata say of an image: which side of it is up.

Cameras and editors write it as EXIF or XMP, PNG has three places for them, and all of
it is broken more often than the pixels are.
"""

import re
from collections.abc import Iterator

from PIL import ExifTags, Image

# How an image of each EXIF orientation is turned upright (CIPA DC-008).
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
XMP = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])")
EXIF = (b"Exif\0\0", b"II*\0", b"MM\0*")  # how EXIF data begin
PROFILES = ("exif", "APP1", "xmp")  # of ImageMagick, as hexadecimal text in a PNG

PNG = b"\x89PNG\r\n\x1a\n"
PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")  # the chunks of a PNG which hold them
JPEG = b"\xff\xd8"
NO_PIXELS = {*range(0xE1, 0xEE), 0xEF, 0xFE}  # APP1 to APP15 less Adobe's; comments
SCAN = 0xDA  # the segment after which a JPEG holds no more of them


def orientation(info: dict) -> int:
    """The EXIF orientation, 1 (upright) to 8; EXIF goes before XMP.

    Args:
        info: of a Pillow image whose pixels have been read, since a PNG may say it
            behind them.

    Raises:
        ValueError: metadata which may say it cannot be read.
    """
    for blob in _blobs(info):
        if blob.startswith(EXIF):
            found = _exif_orientation(blob)
        else:
            match = XMP.search(blob)
            found = int(match[1]) if match else None
        if found in range(1, 9):
            return found
    return 1


def _exif_orientation(blob: bytes) -> object:
    """What stands under `Orientation`: a number if the camera was sane."""
    exif = Image.Exif()
    try:
        exif.load(blob)
        return exif.get(ExifTags.Base.Orientation)
    except Exception as error:  # Pillow documents none, and raises many kinds
        raise ValueError(f"its EXIF data are broken ({error})") from error


def _blobs(info: dict) -> Iterator[bytes]:
    """EXIF and XMP data wherever Pillow leaves them, EXIF first."""
    if "exif" in info:
        yield _with_header(info["exif"])
    for kind in PROFILES:
        if text := info.get(f"Raw profile type {kind}"):
            # An empty line, the kind, the length, then the bytes.
            blob = bytes.fromhex("".join(text.split("\n")[3:]))
            yield _with_header(blob) if kind == "exif" else blob
    for key in ("xmp", "XML:com.adobe.xmp"):
        if text := info.get(key):
            yield text.encode() if isinstance(text, str) else text


def _with_header(exif: bytes) -> bytes:
    """EXIF data which are known as such even if they do not begin as they should."""
    return exif if exif.startswith(EXIF) else EXIF[0] + exif


def stripped(data: bytes) -> bytes:
    """A PNG or JPEG file without metadata; what is neither, as it is."""
    if data.startswith(PNG):
        return b"".join([PNG, *_png_chunks(data)])
    if data.startswith(JPEG):
        return b"".join([JPEG, *_jpeg_segments(data)])
    return data


def _png_chunks(data: bytes) -> Iterator[bytes]:
    """The chunks with pixels: length, kind, content, checksum."""
    start = len(PNG)
    while start < len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        if data[start + 4 : start + 8] in PIXELS:
            yield data[start:end]
        start = end


def _jpeg_segments(data: bytes) -> Iterator[bytes]:
    """The segments with pixels: FF, kind, length, content; all from the first scan."""
    start = len(JPEG)
    while start + 4 <= len(data) and data[start] == 0xFF and data[start + 1] != SCAN:
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        if data[start + 1] not in NO_PIXELS:
            yield data[start:end]
        start = end
    yield data[start:]
