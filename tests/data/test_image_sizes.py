"""Images of several sizes, of odd ones, and beyond memory."""

import pytest
from PIL import Image

from aljax import data
from aljax.data import decoding
from tests.support.pictures import load, plant, refused, saved


def sized(*sizes: tuple[int, int]) -> dict[str, bytes]:
    """A folder of images of these widths and heights, in the order of the pool."""
    names = [f"train/{'ab'[at % 2]}/{at:03}.png" for at in range(len(sizes) - 1)]
    names = [*sorted(names), "test/a/0.png"]
    return {
        name: saved(Image.new("RGB", size))
        for name, size in zip(names, sizes, strict=True)
    }


SIZES = {
    "the first is odd": (
        [(9, 9), *[(10, 8)] * 5],
        "1 of 6 images are not 10x8 pixels like the other 5: train/a/000.png (9x9);",
    ),
    "the last is odd": (
        [*[(10, 8)] * 5, (8, 10)],
        "1 of 6 images are not 10x8 pixels like the other 5: test/a/0.png (8x10);",
    ),
    "most of those at the front are odd": (
        [*[(9, 9)] * 20, *[(10, 8)] * 80],
        "20 of 100 images are not 10x8 pixels like the other 80: train/a/000.png (9x9)",
    ),
    "each has its own": (
        [(4, 5), (5, 4), (6, 6), (7, 7)],
        "3 of 4 images are not 4x5 pixels like the other 1: ",
    ),
}


@pytest.mark.parametrize("name", SIZES)
def test_most_images_say_which_size_is_usual(tmp_path, name):
    sizes, message = SIZES[name]
    path = plant(tmp_path / "x", sized(*sizes))
    assert "set --config.data.image_size" in refused(path, message)
    assert load(path, 8).train_images.shape == (len(sizes) - 1, 32, 32, 3)


def test_an_odd_size_which_all_tried_at_first_have(tmp_path):
    """Every third image is odd, and just those are looked at for the usual size."""
    count = 3 * (decoding.SAMPLE - 1) + 1
    sizes = [(9, 9) if at % 3 == 0 else (10, 8) for at in range(count)]
    path = plant(tmp_path / "x", sized(*sizes))
    refused(
        path, f"31 of {count} images are not 10x8 pixels like the other 60: test/a/0"
    )


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (31, 1), (33, 2)])
def test_small_and_narrow_images(tmp_path, size):
    path = plant(tmp_path / "x", sized(*[size] * 4))
    height, width = (32 * -(-side // 32) for side in size[::-1])
    assert load(path).train_images.shape == (3, height, width, 3)
    assert load(path, 5).train_images.shape == (3, 32, 32, 3)


def test_images_beyond_memory(tmp_path, monkeypatch):
    path = plant(tmp_path / "x", sized(*[(100, 100)] * 4))
    monkeypatch.setattr(decoding, "_memory", lambda: 3 * 4 * 100 * 100 - 1)
    refused(path, "4 images of 100x100 pixels take 0.0 GB, and this machine has 0.0 GB")
    refused(path, "4 images of 101x101 pixels take", 101)
    with pytest.raises(ValueError, match="4 images of 101x101 pixels take"):
        data.pool_size(data.Data("image_folder", str(path), 101))
    assert load(path, 99).train_images.shape == (3, 128, 128, 3)
    monkeypatch.setattr(decoding, "_memory", lambda: 3 * 4 * 100 * 100)
    assert load(path).train_images.shape == (3, 128, 128, 3)


@pytest.mark.parametrize(
    "size", [0, -1, 100_000, 8193, 10**20, 2.5, 64.0, True, "64", float("nan"), (8, 8)]
)
def test_sizes_which_no_image_has(tmp_path, size):
    path = plant(tmp_path / "x", sized(*[(9, 9)] * 4))
    message = refused(path, f"--config.data.image_size: {size!r} is not a number", size)
    assert "give 1 to 8192" in message
