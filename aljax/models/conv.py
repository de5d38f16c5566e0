"""How a convolution runs on each platform; the same arithmetic on all of them.

On a GPU the vendor library's kernels are used, forward and backward. XLA's CPU backend
compiles the gradients of a convolution inside a loop to a naive kernel, an order of
magnitude slower, unless they are stated in its canonical layout; so they are.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def _direct(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    pad = kernel.shape[0] // 2
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), [(pad, pad)] * 2, dimension_numbers=_LAYOUT
    )


def _matmul(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    return x[:, ::stride, ::stride, :] @ kernel[0, 0]


def _input_gradient(x_shape, kernel, stride, g):
    size, pad = kernel.shape[0], kernel.shape[0] // 2
    padding = [
        (size - 1 - pad, before + pad - (after - 1) * stride - 1)
        for before, after in zip(x_shape[1:3], g.shape[1:3], strict=True)
    ]
    return lax.conv_general_dilated(
        g,
        jnp.flip(kernel, (0, 1)).swapaxes(2, 3),
        (1, 1),
        padding,
        lhs_dilation=(stride, stride),
        dimension_numbers=_LAYOUT,
    )


def _kernel_gradient(x, size, stride, g):
    pad = size // 2
    padding = [
        (pad, size + (after - 1) * stride - before - pad)
        for before, after in zip(x.shape[1:3], g.shape[1:3], strict=True)
    ]
    dw = lax.conv_general_dilated(
        x.transpose(3, 1, 2, 0),
        g.transpose(1, 2, 0, 3),
        (1, 1),
        padding,
        rhs_dilation=(stride, stride),
        dimension_numbers=_LAYOUT,
    )
    return dw.transpose(1, 2, 0, 3)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _canonical(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    return _direct(x, kernel, stride)


def _canonical_forward(x, kernel, stride):
    return _canonical(x, kernel, stride), (x, kernel)


def _canonical_backward(stride, saved, g):
    x, kernel = saved
    return (
        _input_gradient(x.shape, kernel, stride, g),
        _kernel_gradient(x, kernel.shape[0], stride, g),
    )


_canonical.defvjp(_canonical_forward, _canonical_backward)


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
    if kernel.shape[0] == 1:
        return _matmul(x, kernel, stride)
    return lax.platform_dependent(
        x,
        kernel,
        cpu=partial(_canonical, stride=stride),
        default=partial(_direct, stride=stride),
    )
