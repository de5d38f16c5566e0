"""Random crop and flip of a batch of uint8 images, and normalisation; pure."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

# Colours of the padding around an image: black, or the mean colour of the pool.
PADDINGS = ("black", "mean")


class Draws(NamedTuple):
    """The random part of augmenting a batch."""

    offsets: jax.Array  # [B, 2] int32, top left corner in the padded image
    flips: jax.Array  # [B] bool


def draw(key: jax.Array, batch: int, padding: int, flip: bool) -> Draws:
    """Draws offsets in 0…2·padding and, if `flip`, fair coins for `batch` images."""
    crop_key, flip_key = jax.random.split(key)
    offsets = jax.random.randint(crop_key, (batch, 2), 0, 2 * padding + 1)
    flips = jax.random.bernoulli(flip_key, 0.5, (batch,)) & flip
    return Draws(offsets, flips)


def crop_and_flip(images: jax.Array, draws: Draws, padding: int) -> jax.Array:
    """Crops each image out of its zero-padded self, then mirrors left and right.

    One gather; the padded image is never made.

    Args:
        images: `[B, H, W, C]`.
        draws: offsets and coins for these images.
        padding: pixels of value 0 around the image before the crop.

    Returns:
        `[B, H, W, C]`, the dtype of `images`.
    """
    batch, height, width, _ = images.shape
    columns = jnp.arange(width)
    columns = jnp.where(draws.flips[:, None], width - 1 - columns, columns)
    r = draws.offsets[:, :1] - padding + jnp.arange(height)
    c = draws.offsets[:, 1:] - padding + columns
    inside = ((r >= 0) & (r < height))[:, :, None] & ((c >= 0) & (c < width))[:, None]
    r, c = jnp.clip(r, 0, height - 1), jnp.clip(c, 0, width - 1)
    picked = images[jnp.arange(batch)[:, None, None], r[:, :, None], c[:, None, :]]
    return jnp.where(inside[..., None], picked, 0)


def normalise(
    images: jax.Array, mean: tuple[float, ...], std: tuple[float, ...]
) -> jax.Array:
    """Maps uint8 pixels to float32 with the pool's channel mean and std (of 0…1)."""
    scale = 1 / (255 * jnp.asarray(std, jnp.float32))
    offset = jnp.asarray(mean, jnp.float32) / jnp.asarray(std, jnp.float32)
    return images.astype(jnp.float32) * scale - offset


def augment(
    images: jax.Array,
    draws: Draws,
    padding: int,
    colour: str,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> jax.Array:
    """Crops, flips and normalises; the pixels around an image have a colour.

    Args:
        images: `[B, H, W, C]` uint8.
        draws: offsets and coins for these images.
        padding: pixels around the image before the crop.
        colour: one of PADDINGS.
        mean: `[C]` of the pool, pixels in 0…1.
        std: `[C]`, likewise.

    Returns:
        `[B, H, W, C]` float32.
    """
    if colour == "mean":  # what zeros are, once the image is normalised
        return crop_and_flip(normalise(images, mean, std), draws, padding)
    return normalise(crop_and_flip(images, draws, padding), mean, std)
