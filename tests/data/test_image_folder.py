"""Tests for `../aljax/data/image_folder.py` and `../aljax/data/decoding.py`."""

import io
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aljax import data
from aljax.data import decoding, image_folder
from tests.support.pictures import (
    LAYOUT,
    encoded,
    good,
    load,
    pack,
    plant,
    refused,
    saved,
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "aljax"


def test_images_are_ordered_by_class_then_path(tmp_path):
    files = good()
    dataset = load(plant(tmp_path / "x", files))
    assert dataset.classes == ("cat", "dog")
    assert dataset.train_labels.tolist() == [0, 1, 1]
    assert dataset.test_labels.tolist() == [0]
    assert dataset.train_images.shape == (3, 32, 32, 3)
    names = ("train/cat/z.jpeg", "train/dog/a.PNG", "train/dog/b.png")
    for image, name in zip(dataset.train_images, names, strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(files[name])))
        np.testing.assert_array_equal(image[11:21, 11:21], pixels)
    assert data.pool_size(data.Data("image_folder", str(tmp_path / "x"))) == 3


def test_folder_zip_and_inner_folder_are_the_same(tmp_path):
    files = good()
    inner = {f"my set/{name}": content for name, content in files.items()}
    litter = {
        "__MACOSX/my set/train/cat/._z.jpeg": b"mac",
        "my set/.DS_Store": b"mac",
        "my set/train/cat/Thumbs.db": b"windows",
        "my set/README.md": b"note",
        "notes.TXT": b"note",
    }
    paths = [
        plant(tmp_path / "plain", files),
        plant(tmp_path / "deep", inner | litter),
        pack(tmp_path / "plain.zip", files),
        pack(tmp_path / "deep.zip", litter | {"my set/": b""} | inner),
    ]
    assert len({load(path).fingerprint for path in paths}) == 1


def test_more_images_than_a_thread_takes_at_a_time(tmp_path, monkeypatch):
    path = plant(tmp_path / "x", good())
    whole = load(path, 10).fingerprint
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setattr(decoding, "BATCH", 3)
    assert load(path, 10).fingerprint == whole


def test_images_in_folders_below_a_class_belong_to_it(tmp_path):
    files = good() | {"train/cat/more/a.png": encoded(9)}
    dataset = load(plant(tmp_path / "x", files))
    assert dataset.train_labels.tolist() == [0, 0, 1, 1]


def test_grey_images_keep_one_channel(tmp_path):
    wide = np.arange(100, dtype=np.uint16).reshape(10, 10) * 600
    bits = np.eye(10, dtype=bool)
    files = {
        "train/a/1.png": encoded(1, "L"),
        "train/a/2.png": saved(Image.fromarray(wide)),
        "train/b/3.png": saved(Image.fromarray(bits)),
        "train/b/4.png": encoded(4, "LA"),
        "test/a/5.jpg": encoded(5, "L", kind="JPEG"),
    }
    dataset = load(plant(tmp_path / "x", files))
    assert dataset.train_images.shape == (4, 32, 32, 1)
    assert dataset.train_images.flags.c_contiguous
    assert len(dataset.mean) == len(dataset.std) == 1
    pixels = dataset.train_images[:, 11:21, 11:21, 0]
    np.testing.assert_array_equal(pixels[1], wide >> 8)
    np.testing.assert_array_equal(pixels[2], bits * 255)


def test_one_colour_image_makes_all_rgb(tmp_path):
    grey = encoded(1, "L")
    files = {
        "train/a/1.png": grey,
        "train/b/2.png": encoded(2, "RGBA"),
        "train/b/3.png": saved(Image.open(io.BytesIO(encoded(3))).quantize(7)),
        "test/a/4.jpg": encoded(4, "L", kind="JPEG"),
    }
    dataset = load(plant(tmp_path / "x", files))
    assert dataset.train_images.shape == (3, 32, 32, 3)
    pixels = dataset.train_images[:, 11:21, 11:21]
    expected = np.asarray(Image.open(io.BytesIO(grey)))
    np.testing.assert_array_equal(pixels[0], np.stack([expected] * 3, axis=-1))
    rgba = np.asarray(Image.open(io.BytesIO(files["train/b/2.png"])))
    np.testing.assert_array_equal(pixels[1], rgba[..., :3])
    palette = Image.open(io.BytesIO(files["train/b/3.png"])).convert("RGB")
    np.testing.assert_array_equal(pixels[2], np.asarray(palette))


@pytest.mark.parametrize("size", [(50, 33), (33, 50), (7, 9), (24, 24)])
def test_image_size_resizes_the_shorter_side_and_crops_the_centre(size):
    image = decoding.decode(encoded(3, size=size), 24).pixels
    assert image.shape == (24, 24, 3)
    width, height = (max(24, 24 * side // min(size)) for side in size)
    whole = Image.open(io.BytesIO(encoded(3, size=size)))
    whole = np.asarray(whole.resize((width, height), Image.Resampling.BILINEAR))
    top, left = round((height - 24) / 2), round((width - 24) / 2)
    np.testing.assert_array_equal(image, whole[top : top + 24, left : left + 24])


def test_photographs_of_any_size(tmp_path):
    files = {
        "train/a/1.jpg": encoded(1, size=(70, 45), kind="JPEG"),
        "train/b/2.png": encoded(2, size=(40, 90)),
        "test/b/3.png": encoded(3, size=(48, 48)),
    }
    path = plant(tmp_path / "x", files)
    assert load(path, 40).train_images.shape == (2, 64, 64, 3)
    assert load(path, 32).train_images.shape == (2, 32, 32, 3)
    message = refused(path, "2 of 3 images are not 70x45 pixels like the other 1")
    assert "test/b/3.png (48x48), train/b/2.png (40x90);" in message
    assert "set --config.data.image_size" in message


def test_photographs_are_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[0, :, 0] = 255  # red on top, which belongs on the right
    image = decoding.decode(saved(Image.fromarray(pixels), exif=exif), None).pixels
    assert image.shape == (6, 4, 3) and image[:, 3, 0].all()


def test_corrupt_files_are_named_and_counted(tmp_path):
    files = good()
    whole = encoded(5, size=(10, 10))
    files |= {f"train/dog/bad{number}.png": whole[:60] for number in range(6)}
    files["test/cat/bad.jpg"] = b"no image"
    path = pack(tmp_path / "x.zip", files)
    message = refused(path, "7 of 11 images cannot be decoded: test/cat/bad.jpg, train")
    assert "bad3.png and 2 more" in message and "bad4.png" not in message


def test_a_damaged_zip_member_is_named(tmp_path):
    files = good()
    path = pack(tmp_path / "x.zip", files)
    content = path.read_bytes()
    at = content.index(files["train/dog/b.png"]) + 70
    damaged = content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]
    path.write_bytes(damaged)
    refused(path, "1 of 4 images cannot be decoded: train/dog/b.png")


def test_no_image_can_be_decoded(tmp_path):
    path = plant(tmp_path / "x", dict.fromkeys(LAYOUT, b"no image"))
    refused(path, "none of its 4 images can be decoded")


def without(part: str) -> dict[str, bytes]:
    return {name: b"" for name in LAYOUT if not name.startswith(part)}


@pytest.mark.parametrize(
    "files, message",
    [
        (without("train/"), "has no folder train/ (it has test)"),
        (without("test/"), "has no folder test/ (it has train)"),
        ({}, "has no folder train/ (it has no folders)"),
        (without("?") | {"test/bird/1.png": b""}, "which train/ lacks: bird"),
        (
            without("?") | {"train/bird/": b""},
            "without a PNG or JPEG image: train/bird",
        ),
        (without("?") | {"test/dog/": b""}, "without a PNG or JPEG image: test/dog"),
        (without("train/dog"), "has 1 classes in train/"),
        (without("test/") | {"test/": b""}, "0 in test/"),
        (without("?") | {"train/cat/1.gif": b""}, "of a class: train/cat/1.gif;"),
        (without("?") | {"train/1.png": b""}, "of a class: train/1.png;"),
        (without("?") | {"train/cat/a.txt": b""}, "of a class: train/cat/a.txt;"),
        (without("?") | {"1.png": b""}, "of a class: 1.png;"),
        (without("?") | {"valid/cat/1.png": b""}, "of a class: valid/cat/1.png;"),
        (
            without("?") | {f"train/cat/{n}.bmp": b"" for n in range(7)},
            "train/cat/4.bmp and 2 more;",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["folder", "zip", "inner"])
def test_wrong_layouts(tmp_path, files, message, kind):
    """Found without decoding: the images here are empty files."""
    if kind == "zip":
        path = pack(tmp_path / "x.zip", files)
    elif kind == "folder":
        path = plant(tmp_path, {"x/": b""}) / "x"
        plant(path, files)
    else:
        path = plant(tmp_path / "x", {f"deep/{name}": b"" for name in files} or {})
        path.mkdir(exist_ok=True)
    refused(path, message)
    with pytest.raises(ValueError, match=re.escape(message)):
        data.pool_size(data.Data("image_folder", str(path)))


def test_file_beside_the_inner_folder(tmp_path):
    files = {f"deep/{name}": b"" for name in LAYOUT} | {"1.png": b""}
    refused(plant(tmp_path / "x", files), "of a class: 1.png;")


def test_wrong_paths(tmp_path):
    refused(tmp_path / "missing", "there is nothing at")
    (tmp_path / "file").write_bytes(b"text")
    refused(tmp_path / "file", "is neither a folder nor a zip")
    path = pack(tmp_path / "x.zip", good())
    content = path.read_bytes()
    at = content.index(b"PK\1\2")
    path.write_bytes(content[:at] + b"????" + content[at + 4 :])
    refused(path, "is damaged")


def test_encrypted_zip(tmp_path):
    path = pack(tmp_path / "x.zip", good())
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1  # the flag in the table of contents
    path.write_bytes(content)
    refused(path, "is encrypted")


def test_link_to_nowhere(tmp_path):
    path = plant(tmp_path / "x", good())
    (path / "train/cat/link.png").symlink_to(tmp_path / "missing.png")
    refused(path, "link.png' cannot be read")


def test_second_load_decodes_nothing(tmp_path, cache, monkeypatch):
    path = plant(tmp_path / "x", good())
    first = load(path)
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(image_folder, "decode_all", None)
    assert load(path).fingerprint == first.fingerprint


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_changed_file_is_decoded_anew(tmp_path, kind):
    files = good() | {"train/cat/z.jpeg": encoded(7, compress_level=0)}
    changed = files | {"train/cat/z.jpeg": encoded(8, compress_level=0)}
    assert len(changed["train/cat/z.jpeg"]) == len(files["train/cat/z.jpeg"])

    def put(content, second):
        if kind == "zip":
            return pack(tmp_path / "x.zip", content)
        path = plant(tmp_path / "x", content)
        # Clocks of file systems are coarse: make sure that the time differs.
        os.utime(path / "train/cat/z.jpeg", (second, second))
        return path

    before = load(put(files, 1)).fingerprint
    assert load(put(changed, 2)).fingerprint != before
    assert load(put(files, 3)).fingerprint == before


def test_image_sizes_are_cached_apart(tmp_path):
    path = plant(tmp_path / "x", good())
    assert load(path, 8).fingerprint != load(path, 9).fingerprint
    assert load(path, 9).fingerprint != load(path).fingerprint


def test_a_damaged_cache_is_written_anew(tmp_path, cache):
    path = plant(tmp_path / "x", good())
    first = load(path).fingerprint
    file = next(cache.iterdir())
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:200])
    assert load(path).fingerprint == first
    assert next(cache.iterdir()).stat().st_size == size


def test_an_unwritable_cache_is_no_error(tmp_path, monkeypatch):
    path = plant(tmp_path / "x", good())
    first = load(path).fingerprint
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_bytes(b"a file where the folder should be")
    assert load(path).fingerprint == first
