"""Names of files and classes which are not UTF-8, or odd in some other way."""

import os

import pytest

from tests.support.pictures import LAYOUT, encoded, good, load, plant, refused

# Names of files and classes: (class, file, the class as it is shown).
NAMES = {
    "not UTF-8": (b"caf\xe9", b"na\xefve.png", r"caf\xe9"),
    "accents": ("café".encode(), "naïve.png".encode(), "café"),
    "emoji": ("👩‍🚀".encode(), "🐈.png".encode(), "👩‍🚀"),
    "right to left": ("קשת".encode(), "חתול.png".encode(), "קשת"),
    "spaces": (b" a  b ", b" .png", " a  b "),
    "a line end": (b"two\nlines", b"a\nb.png", "two\nlines"),
    "a comma and quotes": (b"a, 'b' \"c\"", b"a,'\".png", "a, 'b' \"c\""),
    "markup": (b"<b>&amp;", b"<i>.png", "<b>&amp;"),
    "backslashes": (rb"a\b\xe9", rb"c\d.png", r"a\b\xe9"),
    "long": (b"n" * 255, b"m" * 251 + b".png", "n" * 255),
    "a number": (b"007", b"1e3.png", "007"),
    "a folder which ends as an image": (b"cat.png", b"1.png", "cat.png"),
    "options": (b"--help", b"-rf.png", "--help"),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_files_and_classes(tmp_path, name):
    folder, file, shown = NAMES[name]
    path = plant(tmp_path / "x", good())
    for split in (b"train", b"test"):
        target = os.path.join(os.fsencode(path), split, folder)
        os.makedirs(target)
        for seed, prefix in enumerate([b"", b"b"] if len(file) < 255 else [b""]):
            with open(os.path.join(target, prefix + file), "wb") as image:
                image.write(encoded(seed))
    dataset = load(path)
    assert shown in dataset.classes
    assert all(label.encode() for label in dataset.classes), "a file can hold them"
    assert load(path).fingerprint == dataset.fingerprint, "nor does the cache change it"


@pytest.mark.parametrize(
    "file, shown",
    [
        (b"na\xefve.png", r"train/cat/na\xefve.png"),
        (b"a\nb.png", r"train/cat/a\nb.png"),
        (b"\x1b[31mred.png", r"train/cat/\x1b[31mred.png"),
        ("naïve.png".encode(), "train/cat/naïve.png"),
    ],
)
def test_messages_name_files_in_one_line(tmp_path, file, shown):
    path = plant(tmp_path / "x", good())
    with open(os.path.join(os.fsencode(path), b"train/cat", file), "wb"):
        pass
    message = refused(path, f"cannot be decoded: {shown} (the file is empty);")
    assert message.encode()


@pytest.mark.parametrize(
    "ours, theirs, hint",
    [
        ("Dog", "dog", "dog'"),
        ("cafe\u0301", "caf\u00e9", r"caf\xe9'"),
        ("dog ", "dog", "dog'"),
        ("\uff44og", "dog", "dog'"),
    ],
)
def test_classes_which_only_look_alike(tmp_path, ours, theirs, hint):
    files = {f"train/{theirs}/1.png": b"", f"test/{ours}/1.png": b""}
    path = plant(tmp_path / "x", {name: b"" for name in LAYOUT} | files)
    message = refused(path, f"has classes in test/ which train/ lacks: {ours}")
    assert f"(train/ has '{hint})" in message


def test_classes_which_differ_only_by_case(tmp_path):
    """As letters do: they are classes of their own."""
    files = {
        f"{split}/{c}/1.png": encoded() for split in ("train", "test") for c in "aA"
    }
    assert load(plant(tmp_path / "x", files)).classes == ("A", "a")
