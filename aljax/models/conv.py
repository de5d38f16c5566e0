"""How a convolution runs on each platform; the same arithmetic on all of them.

On a GPU the vendor library's kernels are used, forward and backward. XLA's CPU backend
has slow convolutions, and inside a loop it compiles their gradients to a naive kernel;
there, everything is matrix products: of patches, or of tiles in Winograd's domain.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from aljax.models import patches, winograd

_LAYOUT = ("NHWC", "HWIO", "NHWC")
# Where a block's expanded images stay in the cache, which halves the time of wide maps.
_BLOCK_BYTES = 12 * 2**20
# Rows per product below which reading the kernel anew costs more than the cache saves.
_BLOCK_ROWS = 512


class Method(NamedTuple):
    """Linear maps with convolution = reduce(expand(x) @ kernel(w))."""

    kernel: Callable[[jax.Array], jax.Array]
    kernel_transpose: Callable[[jax.Array], jax.Array]
    expand: Callable[[jax.Array], jax.Array]
    expand_transpose: Callable[[jax.Array, tuple[int, ...]], jax.Array]
    reduce: Callable[[jax.Array, tuple[int, ...]], jax.Array]
    reduce_transpose: Callable[[jax.Array], jax.Array]
    block: int  # images at a time


def method(x_shape: tuple[int, ...], k_shape: tuple[int, ...], stride: int) -> Method:
    """Picks what is fastest on a CPU for images and kernel of these shapes."""
    size, _, c, f = k_shape
    if size == 3 and stride == 1 and min(c, f) >= 16:
        tiles = -(-x_shape[1] // 4) * -(-x_shape[2] // 4)
        block = max(
            _BLOCK_BYTES // (36 * 4 * tiles * max(c, f)), -(-_BLOCK_ROWS // tiles)
        )
        w = winograd
        return Method(
            w.kernel,
            w.kernel_transpose,
            w.expand,
            w.expand_transpose,
            w.reduce,
            w.reduce_transpose,
            block,
        )
    out = -(-x_shape[1] // stride) * -(-x_shape[2] // stride)
    block = max(_BLOCK_BYTES // (4 * out * size * size * c), -(-4096 // out))
    return Method(
        lambda w: w.reshape(-1, f),
        lambda u: u.reshape(k_shape),
        lambda x: patches.expand(x, size, stride),
        lambda v, shape: patches.expand_transpose(v, shape, size, stride),
        lambda m, shape: m.reshape(shape),
        lambda g: g.reshape(-1, f),
        block,
    )


def over_blocks(body: Callable[[Any, int, Any], Any], count: int, size: int, carry):
    """Runs `body(start, rows, carry)` over blocks of `size` of `count` rows."""
    whole, rest = divmod(count, size)
    if whole == 1:
        carry = body(0, size, carry)
    elif whole:
        carry = lax.fori_loop(0, whole, lambda i, c: body(i * size, size, c), carry)
    return body(whole * size, rest, carry) if rest else carry


def _direct(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    pad = kernel.shape[0] // 2
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), [(pad, pad)] * 2, dimension_numbers=_LAYOUT
    )


def _output_shape(x_shape, kernel, stride) -> tuple[int, ...]:
    b, h, w, _ = x_shape
    return b, -(-h // stride), -(-w // stride), kernel.shape[3]


def _blocked(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    how = method(x.shape, kernel.shape, stride)
    shape = _output_shape(x.shape, kernel, stride)
    u = how.kernel(kernel.astype(jnp.float32))

    def body(start, rows, y):
        part = lax.dynamic_slice_in_dim(x, start, rows).astype(jnp.float32)
        part = how.reduce(how.expand(part) @ u, (rows, *shape[1:]))
        return lax.dynamic_update_slice_in_dim(y, part.astype(y.dtype), start, 0)

    return over_blocks(body, x.shape[0], how.block, jnp.zeros(shape, x.dtype))


def _blocked_gradients(stride, x, kernel, g):
    how = method(x.shape, kernel.shape, stride)
    u = how.kernel(kernel.astype(jnp.float32))

    def body(start, rows, carry):
        dx, du = carry
        part = lax.dynamic_slice_in_dim(x, start, rows).astype(jnp.float32)
        m = lax.dynamic_slice_in_dim(g, start, rows).astype(jnp.float32)
        m = how.reduce_transpose(m)
        du += how.expand(part).swapaxes(-1, -2) @ m
        part = how.expand_transpose(m @ u.swapaxes(-1, -2), part.shape)
        dx = lax.dynamic_update_slice_in_dim(dx, part.astype(dx.dtype), start, 0)
        return dx, du

    start = jnp.zeros_like(x), jnp.zeros_like(u)
    dx, du = over_blocks(body, x.shape[0], how.block, start)
    return dx, how.kernel_transpose(du).astype(kernel.dtype)


def _direct_gradients(stride, x, kernel, g):
    return jax.vjp(partial(_direct, stride=stride), x, kernel)[1](g)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Convolves images with an odd square kernel, padded by half of its size.

    Args:
        x: images `[B, H, W, C]`.
        kernel: `[S, S, C, F]`, S odd.
        stride: rows and columns between outputs.

    Returns:
        `[B, ceil(H / stride), ceil(W / stride), F]`, as `torch.nn.functional.conv2d`
        with `padding=S // 2` on channels-last tensors.
    """
    return lax.platform_dependent(
        x,
        kernel,
        cpu=partial(_blocked, stride=stride),
        default=partial(_direct, stride=stride),
    )


def _forward(x, kernel, stride):
    return conv(x, kernel, stride), (x, kernel)


def _backward(stride, saved, g):
    return lax.platform_dependent(
        *saved,
        g,
        cpu=partial(_blocked_gradients, stride),
        default=partial(_direct_gradients, stride),
    )


conv.defvjp(_forward, _backward)
