"""Convolutions on CPUs, by kernels of aljax's own: `direct.cc`.

XLA takes long to compile what surrounds a convolution, and its products of matrices
leave much of a core idle. Here a layer of `fused.py` is one call, and so is each of its
gradients. They read and write images of float32 or bfloat16 and compute in float32;
where a processor multiplies bfloat16, what it multiplies is rounded to that, too.
They are compiled when first wanted; where there is no compiler, and for what they do
not take, there are the products of `methods.py`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import ShapeDtypeStruct

from aljax.models.conv import kernels
from aljax.models.conv.pending import Pending
from aljax.models.norm import Affine, Moments

CHANNELS = 16  # a multiple of which fills all registers
DTYPES = (jnp.float32, jnp.bfloat16)


def fits(x: Pending | jax.Array, kernel: jax.Array) -> bool:
    """Whether these kernels take such a layer."""
    images = x.y if isinstance(x, Pending) else x
    *size, c, f = kernel.shape
    whole = f % CHANNELS == 0 and (c % CHANNELS == 0 or not isinstance(x, Pending))
    known = size in ([1, 1], [3, 3]) and images.dtype in DTYPES and images.size > 0
    return whole and known and not kernels.missing()


def has_input_gradient(kernel: jax.Array) -> bool:
    """Whether `input_gradient` takes such a layer: not one that reads colours."""
    return kernel.shape[2] % CHANNELS == 0


def layer(stride: int, keep: bool, x, kernel, mask, shape) -> tuple[Any, Any, Any]:
    """The parts of what `fused.layer` returns, for an output of this shape."""
    images = _arrays(x)
    f, dtype = shape[3], images[0].dtype
    y, seen, kept = _call(
        "layer",
        (
            ShapeDtypeStruct(shape, dtype),
            ShapeDtypeStruct((0 if mask is None else 1 + 2 * f,), jnp.float32),
            ShapeDtypeStruct(images[0].shape if keep else (0,) * 4, dtype),
        ),
        *images,
        kernel.astype(jnp.float32),
        _floats(0) if mask is None else mask.astype(jnp.float32),
        stride=stride,
    )
    moments = None if mask is None else Moments(seen[0], seen[1 : 1 + f], seen[1 + f :])
    return y, moments, kept if keep else None


def input_gradient(stride: int, x, kernel, mask, out, g) -> Pending | jax.Array:
    """The gradient of the images, which may be pending."""
    images = _arrays(x)
    mask, through = _through(mask, out, g)
    dy, norm, rest, rest_norm = _call(
        "input_gradient",
        tuple(ShapeDtypeStruct(a.shape, a.dtype) for a in images),
        *images,
        kernel.astype(jnp.float32),
        mask,
        out.y,
        through,
        g.y,
        _no_images(g.y) if g.x is None else g.x,
        stride=stride,
    )
    if not isinstance(x, Pending):
        return dy
    return Pending(
        dy,
        Affine(*norm),
        None if x.rest is None else rest,
        None if x.rest_norm is None else Affine(*rest_norm),
    )


def kernel_gradient(stride: int, x, kernel, mask, out, g) -> jax.Array:
    """The gradient of the kernel."""
    mask, through = _through(mask, out, g)
    (found,) = _call(
        "kernel_gradient",
        (ShapeDtypeStruct(kernel.shape, jnp.float32),),
        *_arrays(x),
        mask,
        out.y,
        through,
        g.y,
        stride=stride,
    )
    return found.astype(kernel.dtype)


def _through(mask, out, g) -> tuple[jax.Array, jax.Array]:
    """The mask, and by what the gradients of the moments reach y: `[3, F]`."""
    if mask is None:
        return _floats(len(out.y)), _floats(3, out.y.shape[3])
    m = out.moments
    constant, slope = g.moments.mean / jnp.maximum(m.count, 1.0), 2 * g.moments.squares
    return mask.astype(jnp.float32), jnp.stack([constant, slope, m.mean])


def _arrays(x: Pending | jax.Array) -> tuple[jax.Array, ...]:
    """Images, normalisation, rest and its normalisation; empty where there is none."""
    none = _floats(0)
    if not isinstance(x, Pending):
        return x, none, _no_images(x), none
    return (
        x.y,
        jnp.stack(x.norm),
        _no_images(x.y) if x.rest is None else x.rest,
        none if x.rest_norm is None else jnp.stack(x.rest_norm),
    )


def _floats(*shape: int) -> jax.Array:
    return jnp.zeros(shape, jnp.float32)


def _no_images(like: jax.Array) -> jax.Array:
    return jnp.zeros((0,) * 4, like.dtype)


def _call(name: str, results, images, *args, stride: int):
    name = f"aljax_{name}_{images.dtype}"
    call = jax.ffi.ffi_call(name, results, vmap_method="sequential")
    return call(images, *args, stride=stride)
