"""Zips which are odd, made elsewhere, or damaged."""

import io
import struct
import warnings
import zipfile

import pytest

from aljax import data
from tests.support.pictures import encoded, good, load, pack, plant, refused


def member(name: str, content: bytes, system: int = 3, mode: int = 0o100644):
    """One file of a zip, as a system of this number writes it (0: Windows, 3: Unix)."""
    info = zipfile.ZipInfo("x")
    info.filename = name
    info.create_system = system
    info.external_attr = mode << 16
    return info, content


def packed(path, members):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")  # of names which are there twice
        for info, content in members:
            archive.writestr(info, content)
    return path


def renamed(rename, system: int = 3):
    return [member(rename(name), content, system) for name, content in good().items()]


OLD = {name: encoded(99) for name in good()}
# Zips which hold the same four images: the members in their order.
SAME = {
    "slash before": renamed("/{}".format),
    "a dot before": renamed("./{}".format),
    "two slashes": renamed(lambda name: name.replace("/", "//")),
    "dots inside": renamed(lambda name: name.replace("/", "/./")),
    "Windows": renamed(lambda name: name.replace("/", "\\"), system=0),
    "Windows with a drive": renamed(
        lambda name: "C:\\" + name.replace("/", "\\"), system=0
    ),
    "Windows with folders": [
        *(member(f"{name}\\", b"", 0) for name in ("train", "train\\cat", "test")),
        *renamed(lambda name: name.replace("/", "\\"), system=0),
    ],
    "an inner folder": renamed("photos of me/{}".format),
    "in any order": renamed(str)[::-1],
    "twice, the last counts": [
        *(member(name, content) for name, content in OLD.items()),
        *renamed(str),
    ],
    "twice by other names, the last counts": [
        *(member(f"./{name}", content) for name, content in OLD.items()),
        *renamed(str),
    ],
    "folders twice": [member("train/", b"", mode=0o40755)] * 2 + renamed(str),
}


@pytest.mark.parametrize("kind", SAME)
def test_zips_of_the_same_images(tmp_path, kind):
    expected = load(plant(tmp_path / "x", good())).fingerprint
    path = packed(tmp_path / "x.zip", SAME[kind])
    assert load(path).fingerprint == expected
    assert data.pool_size(data.Data("image_folder", str(path))) == 3


def test_a_backslash_of_unix_is_a_part_of_the_name(tmp_path):
    files = {f"{split}/a\\b/1.png": encoded() for split in ("train", "test")}
    assert load(pack(tmp_path / "x.zip", good() | files)).classes[0] == "a\\b"


def test_what_is_packed_how(tmp_path):
    expected = load(plant(tmp_path / "x", good())).fingerprint
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        path = tmp_path / f"{method}.zip"
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, content in good().items():
                archive.writestr(name, content)
        assert load(path).fingerprint == expected


def test_bytes_before_and_behind_a_zip(tmp_path):
    """As in a program which unpacks itself, and with a comment."""
    path = pack(tmp_path / "x.zip", good())
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"a comment" * 99
    path.write_bytes(b"#!/bin/sh\n" * 99 + path.read_bytes())
    expected = load(plant(tmp_path / "x", good())).fingerprint
    assert load(path).fingerprint == expected


# Members which no image can be: (member, what is said).
MEMBERS = {
    "a way out": (
        member("../train/cat/1.png", encoded()),
        "holds a file outside of itself (../train/cat); unpack it and give",
    ),
    "a way out and in": (
        member("train/../../x/1.png", encoded()),
        "holds a file outside of itself (train/../../x);",
    ),
    "a way out on Windows": (
        member("..\\x\\1.png", encoded(), system=0),
        "holds a file outside of itself (../x); unpack it and give the folder.",
    ),
    "a link": (
        member("train/cat/1.png", b"z.jpeg", mode=0o120777),
        "holds a symbolic link (train/cat/1.png); unpack it and give the folder.",
    ),
    "a zip": (
        member("train/cat/1.zip", b"PK"),
        "holds files which are not PNG or JPEG images of a class: train/cat/1.zip;",
    ),
    "a class which is a file": (
        member("train/bird", b"PK"),
        "holds files which are not PNG or JPEG images of a class: train/bird;",
    ),
    "a line end": (
        member("train/cat/a\nb.bmp", b""),
        r"not PNG or JPEG images of a class: train/cat/a\nb.bmp;",
    ),
}


@pytest.mark.parametrize("kind", MEMBERS)
def test_members_which_no_image_can_be(tmp_path, kind):
    odd, message = MEMBERS[kind]
    refused(packed(tmp_path / "x.zip", [*renamed(str), odd]), message)


def test_links_which_are_left_behind_do_not_matter(tmp_path):
    odd = [
        member("train/cat/.#z.jpeg", b"me@here", mode=0o120777),
        member(".git/HEAD", b"main", mode=0o120777),
    ]
    path = packed(tmp_path / "x.zip", [*renamed(str), *odd])
    assert load(path).classes == ("cat", "dog")


def test_a_zip_in_a_zip(tmp_path):
    inner = pack(tmp_path / "inner.zip", good()).read_bytes()
    path = pack(tmp_path / "x.zip", {"images.zip": inner})
    refused(path, "has no folder train/ (it has no folders)")


def test_a_zip_of_nothing(tmp_path):
    refused(pack(tmp_path / "x.zip", {}), "has no folder train/ (it has no folders)")


def whole() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in good().items():
            archive.writestr(name, content)
    return file.getvalue()


WHOLE = whole()
TABLE = WHOLE.index(b"PK\1\2")
# Damaged zips: (bytes, what is said).
DAMAGED = {
    "half": (WHOLE[: len(WHOLE) // 2], "is damaged or cut short ("),
    "all but its end": (WHOLE[:-5], "is damaged or cut short ("),
    "its first bytes": (WHOLE[:4], "is damaged or cut short ("),
    "its end alone": (WHOLE[-22:], "is damaged or cut short ("),
    "its second half": (WHOLE[len(WHOLE) // 2 :], "is damaged or cut short ("),
    "no table": (WHOLE[:TABLE] + WHOLE[-22:], "is damaged or cut short ("),
    "a table of rubbish": (
        WHOLE[:TABLE] + b"?" * (len(WHOLE) - TABLE - 22) + WHOLE[-22:],
        "is damaged or cut short (",
    ),
    "a name which is not the UTF-8 it says": (
        WHOLE[: TABLE + 8]
        + struct.pack("<H", 0x800)
        + WHOLE[TABLE + 10 : TABLE + 46]
        + b"\xff"
        + WHOLE[TABLE + 47 :],
        "is damaged or cut short (",
    ),
    "a version of the future": (
        WHOLE[: TABLE + 6] + b"\xff" + WHOLE[TABLE + 7 :],
        "is damaged or cut short (",
    ),
    "a method nobody knows": (
        WHOLE[: TABLE + 10] + b"\x63" + WHOLE[TABLE + 11 :],
        "1 of 4 images cannot be decoded: train/dog/b.png (That compression method is",
    ),
    "nothing": (b"", "is neither a folder nor a zip; give one."),
    "a tar": (b"train/cat" + bytes(1024), "is neither a folder nor a zip; give one."),
    "a 7z": (b"7z\xbc\xaf\x27\x1c" + bytes(99), "is neither a folder nor a zip;"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_zips(tmp_path, kind):
    content, message = DAMAGED[kind]
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    assert message in refused(path, "--config.data.path: ")


def test_any_byte_may_be_wrong(tmp_path):
    """What it does not matter to is the same, the rest is refused in one line."""
    expected = load(plant(tmp_path / "x", good())).fingerprint
    path = tmp_path / "x.zip"
    refusals = 0
    for at in [*range(0, 200, 7), *range(TABLE, len(WHOLE))]:
        path.write_bytes(WHOLE[:at] + bytes([WHOLE[at] ^ 0xFF]) + WHOLE[at + 1 :])
        try:
            same = load(path).fingerprint == expected
        except ValueError as error:
            refusals += 1
            assert str(error).startswith("--config.data.path: ")
            assert "\n" not in str(error)
        else:
            assert same
    assert refusals > 100


def lying(path, name: str, length: int, says: int):
    """A zip with a member of zeros, whose size is another than it says."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for other, image in (good() | {name: bytes(length)}).items():
            archive.writestr(other, image)
    body, size = path.read_bytes(), struct.pack("<I", length)
    assert body.count(size) == 2, "in its header and in the table"
    path.write_bytes(body.replace(size, struct.pack("<I", says)))
    return path


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_packed_bytes_may_be_wrong(tmp_path, method):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in good().items():
            archive.writestr(name, content)
    whole = path.read_bytes()
    for at in range(52, 152, 3):
        path.write_bytes(whole[:at] + b"\0\xff\xff" + whole[at + 3 :])
        refused(path, "1 of 4 images cannot be decoded: train/dog/b.png (")


def test_a_member_too_large_for_an_image_is_not_read(tmp_path, monkeypatch):
    path = lying(tmp_path / "x.zip", "train/cat/bomb.png", 99_999, says=600_000_000)
    monkeypatch.setattr(zipfile.ZipFile, "read", None)
    refused(path, "more than 512 MiB: train/cat/bomb.png; replace or remove them")


def test_a_member_larger_than_it_says(tmp_path):
    """Of 50 MB, no more than the 99 bytes are unpacked that the table says."""
    path = lying(tmp_path / "x.zip", "train/cat/bomb.png", 50_000_000, says=99)
    refused(path, "cannot be decoded: train/cat/bomb.png (Bad CRC-32 for file")
