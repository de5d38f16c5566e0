"""How a convolution runs on each platform; the same arithmetic on all of them.

On a GPU the vendor library's kernels are used, forward and backward. XLA's CPU backend
has slow convolutions, and inside a loop it compiles their gradients to a naive kernel;
there, what the kernels of `direct.py` do not take is matrix products: of patches, or of
tiles in Winograd's domain, a few images at a time so that what is expanded stays in the
cache.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from aljax.models.conv import patches, polyphase, winograd
from aljax.models.norm import total, total_by_product

_LAYOUT = ("NHWC", "HWIO", "NHWC")
# An expanded block of this size leaves room for its product in the cache.
_BLOCK_BYTES = 6 * 2**20
# With fewer rows per product, reading the kernel anew costs more than the cache saves.
_WINOGRAD_ROWS = 512
_PATCH_ROWS = 1024
# XLA fuses what makes a block into every reader of it, several times over, unless the
# readers are a loop of their own.
_CHUNKS = 4
# With fewer channels, Winograd's transforms cost more than the products they save.
_WINOGRAD_CHANNELS = 16


class Method(NamedTuple):
    """A way to convolve; `pack` brings a kernel into the domain of the products."""

    pack: Callable[[jax.Array], Any]
    forward: Callable[[jax.Array, Any], jax.Array]  # x, packed -> y
    total: Callable[[jax.Array, jax.Array], jax.Array]  # x, weight [B] -> [C]
    block: int  # images at a time
    chunk: int  # of a block, for what reads its result
    whole: bool = False  # score all images in one block
    one_pass: bool = False  # take moments while the result is read once
    narrow: bool = False  # normalise in the images' dtype, as fused kernels do
    # A method that only scores has no gradients: the transpose of `pack`, and
    # x, packed, g -> gradients of x and of packed.
    unpack: Callable[[Any], jax.Array] | None = None
    backward: Callable[[jax.Array, Any, jax.Array], tuple[jax.Array, Any]] | None = None


def output_shape(
    x_shape: tuple[int, ...], k_shape: tuple[int, ...], stride: int
) -> tuple[int, ...]:
    """`[B, ceil(H / stride), ceil(W / stride), F]`."""
    b, h, w, _ = x_shape
    return b, -(-h // stride), -(-w // stride), k_shape[3]


def _divisor(count: int, most: int) -> int:
    """The largest divisor of `count` up to `most`, unless much smaller than that."""
    most = max(1, min(count, most))
    best = max(d for d in range(1, most + 1) if count % d == 0)
    return best if 2 * best > most else most


def _block(images: int, rows: int, values: int, least: int) -> int:
    """Images at a time, each of so many rows of float32 values for a product.

    Args:
        least: rows of a product, if there are as many.
    """
    return _divisor(images, max(_BLOCK_BYTES // (4 * rows * values), -(-least // rows)))


def vendor(x_shape: tuple[int, ...], k_shape: tuple[int, ...], stride: int) -> Method:
    """XLA's own convolution and gradients, all images at once."""

    pads = [(k_shape[0] // 2,) * 2] * 2

    def convolve(x, kernel):
        kernel = kernel.astype(x.dtype)
        return lax.conv_general_dilated(
            x, kernel, (stride, stride), pads, dimension_numbers=_LAYOUT
        )

    def backward(x, kernel, g):
        return jax.vjp(convolve, x, kernel)[1](g)

    return Method(
        lambda w: w,
        convolve,
        total,
        block=x_shape[0],
        chunk=x_shape[0],
        one_pass=True,
        unpack=lambda w: w,
        backward=backward,
    )


def scoring_vendor(
    x_shape: tuple[int, ...], k_shape: tuple[int, ...], stride: int
) -> Method:
    """The same for scoring, where one kernel adds bias and shortcut to a result."""
    return vendor(x_shape, k_shape, stride)._replace(narrow=True)


def _winograd(x_shape, k_shape, stride) -> Method:
    def forward(x, u):
        y = winograd.expand(x.astype(jnp.float32)) @ u
        y = winograd.reduce(y, output_shape(x.shape, k_shape, stride))
        return y.astype(x.dtype)

    def backward(x, u, g):
        m = winograd.reduce_transpose(g.astype(jnp.float32))
        v = winograd.expand(x.astype(jnp.float32))
        dx = winograd.expand_transpose(m @ u.swapaxes(1, 2), x.shape)
        return dx.astype(x.dtype), v.swapaxes(1, 2) @ m

    tiles = -(-x_shape[1] // 4) * -(-x_shape[2] // 4)
    block = _block(x_shape[0], tiles, 36 * max(k_shape[2:]), _WINOGRAD_ROWS)
    return Method(
        winograd.pack,
        forward,
        total_by_product,
        block,
        -(-block // _CHUNKS),
        unpack=winograd.unpack,
        backward=backward,
    )


def _polyphase(x_shape, k_shape, stride) -> Method:
    def forward(x, u):
        y = jax.tree.map(jnp.matmul, polyphase.expand(x.astype(jnp.float32)), u)
        y = polyphase.reduce(y, output_shape(x.shape, k_shape, stride))
        return y.astype(x.dtype)

    tiles = -(-x_shape[1] // 8) * -(-x_shape[2] // 8)
    values = max(81 * k_shape[2], 25 * k_shape[3])
    block = _block(x_shape[0], tiles, values, _WINOGRAD_ROWS)
    return Method(
        polyphase.pack, forward, total_by_product, block, -(-block // _CHUNKS)
    )


def _patches(x_shape, k_shape, stride) -> Method:
    size, _, c, f = k_shape

    def forward(x, u):
        y = patches.expand(x, size, stride) @ u.astype(x.dtype)
        return y.reshape(output_shape(x.shape, k_shape, stride))

    def backward(x, u, g):
        g = g.reshape(-1, f)
        v = g @ u.T.astype(x.dtype)
        dx = patches.expand_transpose(v, x.shape, size, stride)
        du = jnp.matmul(
            patches.expand(x, size, stride).T, g, preferred_element_type=jnp.float32
        )
        return dx, du

    out = -(-x_shape[1] // stride) * -(-x_shape[2] // stride)
    block = _block(x_shape[0], out, max(size * size * c, f), _PATCH_ROWS)
    return Method(
        lambda w: w.reshape(-1, f),
        forward,
        total_by_product,
        block,
        -(-block // _CHUNKS),
        # Nothing is expanded that could leave the cache.
        whole=size == 1,
        unpack=lambda u: u.reshape(k_shape),
        backward=backward,
    )


def _few_channels(k_shape: tuple[int, ...]) -> bool:
    return min(k_shape[2:]) < _WINOGRAD_CHANNELS


def products(x_shape: tuple[int, ...], k_shape: tuple[int, ...], stride: int) -> Method:
    """Matrix products: those that measured fastest on CPUs for such shapes."""
    if k_shape[0] != 3 or stride != 1 or _few_channels(k_shape):
        return _patches(x_shape, k_shape, stride)
    return _winograd(x_shape, k_shape, stride)


def scoring_products(
    x_shape: tuple[int, ...], k_shape: tuple[int, ...], stride: int
) -> Method:
    """Picks as `products` does, where there is room for larger kernels, no gradient."""
    if k_shape[0] != 3 or stride != 2 or _few_channels(k_shape):
        return products(x_shape, k_shape, stride)
    return _polyphase(x_shape, k_shape, stride)
