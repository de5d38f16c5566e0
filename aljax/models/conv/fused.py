"""A convolution, the normalisation before it and the statistics after it, as one step.

Batch normalisation is bound by memory: taken alone it reads and writes its images a
dozen times, forward and backward. So a layer takes images as the previous convolution
left them, normalises them on their way in, and gathers the moments of its own output on
their way out. What lies between two convolutions is never stored, only recomputed, and
on CPUs a few images at a time pass through all of it while they are in the cache.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from aljax.models.conv import direct
from aljax.models.conv.methods import (
    Method,
    output_shape,
    products,
    scoring_products,
    scoring_vendor,
    vendor,
)
from aljax.models.conv.pending import Pending
from aljax.models.norm import (
    Affine,
    Moments,
    moments,
    moments_at_once,
    no_moments,
)
from aljax.platforms import by_platform


class Output(NamedTuple):
    """What a layer gives."""

    y: jax.Array  # [B, h, w, F], not normalised
    moments: Moments | None  # of y, if training
    x: jax.Array | None  # the layer's input [B, H, W, C], if asked for


def _rows(tree: Any, start, rows: int) -> Any:
    """The rows of all images in a tree; what has no rows stays as it is."""
    return jax.tree.map(
        lambda a: lax.dynamic_slice_in_dim(a, start, rows) if _has_rows(a) else a, tree
    )


def _has_rows(a: jax.Array) -> bool:
    return a.ndim == 4


def _collect(start, a: jax.Array, part: jax.Array) -> jax.Array:
    return _put(a, part, start) if _has_rows(a) else a + part


def _put(a: jax.Array | None, part: jax.Array | None, start) -> jax.Array | None:
    if a is None:
        return None
    return lax.dynamic_update_slice_in_dim(a, part.astype(a.dtype), start, 0)


def _blank(shape: tuple[int, ...], dtype: Any, after: jax.Array) -> jax.Array:
    """Images to be overwritten, whose memory is not taken before `after` is known.

    XLA merges all zeros of one shape into one array at the start of the program, and
    copies that for each use.
    """
    return jnp.broadcast_to(after[0, 0, 0, 0].astype(dtype), shape)


def _over_blocks(body: Callable, count: int, size: int, carry: Any) -> Any:
    """Runs `body(start, rows, carry)` over blocks of `size` of `count` rows."""
    whole, rest = divmod(count, size)
    if whole == 1:
        carry = body(0, size, carry)
    elif whole:
        carry = lax.fori_loop(0, whole, lambda i, c: body(i * size, size, c), carry)
    return body(whole * size, rest, carry) if rest else carry


def _value(x: Pending | jax.Array, narrow: bool = False) -> jax.Array:
    if not isinstance(x, Pending):
        return x
    return x.narrow() if narrow else x.value()


def _stored(x: Pending | jax.Array) -> jax.Array:
    """The value, computed once, however many read it.

    XLA would compute it for each reader. It keeps what a branch makes, so here is one
    that it cannot know to be always taken.
    """
    if not isinstance(x, Pending):
        return x
    always = ~(x.norm.factor[0] > jnp.inf)
    return lax.cond(always, x.value, lambda: x.y)


def _images(x: Pending | jax.Array) -> jax.Array:
    return x.y if isinstance(x, Pending) else x


# Layers of one shape are traced once and lowered once.
@partial(jax.jit, static_argnums=(0, 1, 2))
def _run(pick: Callable[..., Method], stride, keep, x, kernel, mask) -> Output:
    images = _images(x)
    how = pick(images.shape, kernel.shape, stride)
    packed = how.pack(kernel)
    shape = output_shape(images.shape, kernel.shape, stride)
    if mask is None and how.whole:
        value = _stored(x)
        return Output(how.forward(value, packed), None, value if keep else None)

    take = moments_at_once if how.one_pass else partial(moments, total=how.total)

    def body(start, rows, out):
        value = _value(_rows(x, start, rows), how.narrow)
        y = how.forward(value, packed)
        x_out = _put(out.x, value, start)

        def read(begin, rows, carry):
            y_out, seen = carry
            part = _rows(y, begin, rows)
            if mask is not None:
                some = lax.dynamic_slice_in_dim(mask, start + begin, rows)
                seen += take(part, some)
            return _put(y_out, part, start + begin), seen

        y_out, seen = _over_blocks(read, rows, how.chunk, (out.y, out.moments))
        return Output(y_out, seen, x_out)

    empty = Output(
        _blank(shape, images.dtype, images),
        None if mask is None else no_moments(shape[3]),
        _blank(images.shape, images.dtype, images) if keep else None,
    )
    return _over_blocks(body, shape[0], how.block, empty)


def _pull_output(g: Output, out: Output, mask) -> jax.Array:
    """The gradient of y, through the moments too."""
    if mask is None:
        return g.y
    m = out.moments
    weight = mask.astype(jnp.float32)[:, None, None, None]
    through = g.moments.mean / jnp.maximum(m.count, 1.0)
    through += 2 * g.moments.squares * (out.y.astype(jnp.float32) - m.mean)
    return (g.y.astype(jnp.float32) + through * weight).astype(g.y.dtype)


def _pull_norm(
    norm: Affine, y: jax.Array, g: jax.Array, total: Callable
) -> tuple[jax.Array, Affine]:
    """Gradients of y and of the normalisation from that of its result, all float32."""
    ones = jnp.ones(len(g))
    bias = total(g, ones)
    factor = total(g * (y.astype(jnp.float32) - norm.mean), ones)
    return g * norm.factor, Affine(-norm.factor * bias, factor, bias)


def _pull_input(
    x: Pending | jax.Array, g: jax.Array, total: Callable
) -> Pending | jax.Array:
    """The gradient of a pending input from that of its value."""
    if not isinstance(x, Pending):
        return g
    g = jnp.where(_value(x) > 0, g, 0).astype(jnp.float32)
    y, norm = _pull_norm(x.norm, x.y, g, total)
    rest, rest_norm = g, None
    if x.rest is None:
        rest = None
    elif x.rest_norm is not None:
        rest, rest_norm = _pull_norm(x.rest_norm, x.rest, g, total)
    return Pending(y, norm, rest, rest_norm)


@partial(jax.jit, static_argnums=(0, 1))
def _gradients(pick: Callable[..., Method], stride, x, kernel, mask, out, g):
    gx = g.x
    images = _images(x)
    how = pick(images.shape, kernel.shape, stride)
    packed = how.pack(kernel)

    def body(start, rows, carry):
        dx, du = carry
        part = _rows(x, start, rows)
        some = None if mask is None else lax.dynamic_slice_in_dim(mask, start, rows)
        dy = _pull_output(_rows(g, start, rows), _rows(out, start, rows), some)
        value, step = how.backward(_value(part), packed, dy)

        def read(begin, rows, dx):
            g = _rows(value, begin, rows)
            if gx is not None:
                g += _rows(gx, start + begin, rows)
            part = _pull_input(_rows(x, start + begin, rows), g, how.total)
            return jax.tree.map(partial(_collect, start + begin), dx, part)

        dx = _over_blocks(read, rows, how.chunk, dx)
        return dx, du + step

    start = jax.tree.map(
        lambda a: _blank(a.shape, a.dtype, g.y) if _has_rows(a) else jnp.zeros_like(a),
        x,
    )
    packed_shape = jax.eval_shape(how.pack, kernel)
    start = start, jnp.zeros(packed_shape.shape, packed_shape.dtype)
    dx, du = _over_blocks(body, images.shape[0], how.block, start)
    return dx, how.unpack(du).astype(kernel.dtype)


def _run_on_cpu(stride, keep, x, kernel, mask) -> Output:
    if direct.fits(x, kernel):
        shape = output_shape(_images(x).shape, kernel.shape, stride)
        return Output(*direct.layer(stride, keep, x, kernel, mask, shape))
    pick = scoring_products if mask is None else products
    return _run(pick, stride, keep, x, kernel, mask)


def _gradients_on_cpu(stride, x, kernel, mask, out, g):
    if not direct.fits(x, kernel):
        return _gradients(products, stride, x, kernel, mask, out, g)
    if direct.has_input_gradient(kernel):
        dx = direct.input_gradient(stride, x, kernel, mask, out, g)
    else:  # which nobody asks for, as a rule
        dx, _ = _gradients(products, stride, x, kernel, mask, out, g)
    return dx, direct.kernel_gradient(stride, x, kernel, mask, out, g)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def layer(
    x: Pending | jax.Array,
    kernel: jax.Array,
    mask: jax.Array | None,
    stride: int = 1,
    keep: bool = False,
) -> Output:
    """Convolves images with an odd square kernel, padded by half of its size.

    Args:
        x: `[B, H, W, C]`, or such images before their normalisation.
        kernel: `[S, S, C, F]`, S odd, float32.
        mask: `[B]`, 1 for a real row and 0 for padding, to get the moments of the real
            rows; or None.
        stride: rows and columns between outputs.
        keep: also return the images that were convolved.

    Returns:
        Images `[B, ceil(H / stride), ceil(W / stride), F]`, as
        `torch.nn.functional.conv2d` with `padding=S // 2` on channels-last tensors.
    """
    elsewhere = scoring_vendor if mask is None else vendor
    return by_platform(
        x,
        kernel,
        mask,
        cpu=partial(_run_on_cpu, stride, keep),
        default=partial(_run, elsewhere, stride, keep),
    )


def _forward(x, kernel, mask, stride, keep):
    out = layer(x, kernel, mask, stride, keep)
    return out, (x, kernel, mask, out._replace(x=None))


def _backward(stride, keep, saved, g):
    x, kernel, mask, out = saved
    dx, dk = by_platform(
        x,
        kernel,
        mask,
        out,
        g,
        cpu=partial(_gradients_on_cpu, stride),
        default=partial(_gradients, vendor, stride),
    )
    return dx, dk, None if mask is None else jnp.zeros_like(mask)


layer.defvjp(_forward, _backward)
