"""Crop and flip pixel by pixel, and what is drawn for them."""

import jax
import numpy as np
import pytest

from aljax.augment import PADDINGS, Draws, augment, crop_and_flip, draw, normalise


def naive(image, offset, flip, padding):
    """Pads, crops, mirrors: one image at a time."""
    height, width, _ = image.shape
    padded = np.pad(image, [(padding, padding), (padding, padding), (0, 0)])
    top, left = offset
    crop = padded[top : top + height, left : left + width]
    return crop[:, ::-1] if flip else crop


@pytest.mark.parametrize("padding", [0, 1, 4])
@pytest.mark.parametrize("shape", [(32, 32, 3), (9, 7, 1), (3, 5, 2)])
def test_crop_and_flip(shape, padding):
    random = np.random.default_rng(padding)
    count = 2 * (2 * padding + 1) ** 2
    images = random.integers(1, 256, (count, *shape), dtype=np.uint8)
    rows, columns, flips = np.meshgrid(
        *[np.arange(2 * padding + 1)] * 2, [False, True], indexing="ij"
    )
    offsets = np.stack([rows.ravel(), columns.ravel()], -1).astype(np.int32)
    ours = crop_and_flip(images, Draws(offsets, flips.ravel()), padding)
    assert ours.dtype == np.uint8 and ours.shape == images.shape
    for image, offset, flip, got in zip(
        images, offsets, flips.ravel(), np.asarray(ours), strict=True
    ):
        np.testing.assert_array_equal(got, naive(image, offset, flip, padding))


def test_draws_cover_all_offsets_and_both_sides():
    draws = draw(jax.random.key(0), 2001, 4, True)
    offsets, flips = np.asarray(draws.offsets), np.asarray(draws.flips)
    assert offsets.shape == (2001, 2) and flips.shape == (2001,)
    assert len({tuple(pair) for pair in offsets}) == 81
    assert offsets.min() == 0 and offsets.max() == 8
    assert 0.45 < flips.mean() < 0.55


def test_draws_depend_on_the_key_and_flip_can_be_off():
    one, other = (draw(jax.random.key(seed), 65, 4, False) for seed in (0, 1))
    assert (np.asarray(one.offsets) != np.asarray(other.offsets)).any()
    assert not np.asarray(one.flips).any()


def test_normalise():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (5, 3, 2, 2), dtype=np.uint8)
    mean, std = (0.25, 0.5), (0.125, 2.0)
    ours = normalise(images, mean, std)
    assert ours.dtype == np.float32
    expected = (images / 255 - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-6)


MEAN, STD = (0.25, 0.5), (0.125, 2.0)


def test_padding_is_black_before_normalising_or_the_mean_after():
    # One white pixel, cropped from the corner of 3 x 3: the pixel is bottom right.
    white = np.full((1, 1, 1, 2), 255, np.uint8)
    draws = Draws(np.array([[0, 0]]), np.array([False]))
    pixel = {colour: augment(white, draws, 1, colour, MEAN, STD) for colour in PADDINGS}
    # (0 - 0.25) / 0.125 and (0 - 0.5) / 2
    np.testing.assert_allclose(pixel["black"], [[[[-2.0, -0.25]]]])
    np.testing.assert_array_equal(pixel["mean"], [[[[0.0, 0.0]]]])


@pytest.mark.parametrize("colour", PADDINGS)
def test_colour_of_the_padding_changes_no_pixel_of_the_image(colour):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (9, 5, 4, 2), dtype=np.uint8)
    draws = draw(jax.random.key(0), 9, 2, True)
    ours = np.asarray(augment(images, draws, 2, colour, MEAN, STD))
    assert ours.dtype == np.float32
    black = np.asarray(normalise(crop_and_flip(images, draws, 2), MEAN, STD))
    inside = np.asarray(crop_and_flip(np.ones_like(images), draws, 2)) == 1
    assert 0 < inside.mean() < 1
    np.testing.assert_array_equal(ours[inside], black[inside])
    outside = black[~inside] if colour == "black" else 0
    np.testing.assert_array_equal(ours[~inside], outside)
