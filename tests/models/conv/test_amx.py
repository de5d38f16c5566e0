"""Products in the tiles of AMX, or as if in them, are those of rounded numbers.

Where none are used here, in a process of its own, which `test_kernels.py` begins.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax.models.conv import direct, kernels
from aljax.models.conv.fused import Output, _run
from aljax.models.conv.methods import output_shape, products
from tests.models.conv.test_direct import (
    BOUND,
    INPUTS,
    KERNELS,
    assert_close,
    drawn,
    images,
    rounded,
    widened,
)

pytestmark = pytest.mark.skipif(
    bool(kernels.missing()) or kernels.tiles() == "off",
    reason="no tiles here; test_kernels.py begins a process that emulates them",
)
SHAPES = [(32, 32, 32, 32), (7, 9, 32, 64), (3, 48, 96, 64), (5, 1, 64, 32)]
CASES = [
    (*KERNELS[i], *SHAPES[j], INPUTS[(i + j) % 4])
    for i, j in itertools.product(range(4), range(4))
]


def all_of(stride, x, kernel, mask, out, g):
    shape = output_shape(_images(x).shape, kernel.shape, stride)
    saved = x, kernel, mask, out._replace(x=None), g
    y, moments, _ = direct.layer(stride, False, x, kernel, mask, shape)
    dx = direct.input_gradient(stride, *saved)
    return (y, moments), dx, direct.kernel_gradient(stride, *saved)


def assert_nearest(ours, theirs):
    """But for what float32 sums in another order."""
    away = jnp.abs(ours.astype("float32") - theirs)
    nearest = 2.0**-8 * jnp.abs(theirs) + BOUND * jnp.abs(theirs).max()
    assert (away <= nearest).all()


def _images(x):
    return x if isinstance(x, jax.Array) else x.y


@pytest.mark.parametrize("size, stride, high, wide, c, f, kind", CASES)
def test_rounded_numbers_give_what_float32_gives(size, stride, high, wide, c, f, kind):
    """Images that are bfloat16 already: the kernel's gradient is exact but for sums."""
    random = np.random.default_rng(0)
    x = drawn(random, 3, high, wide, c).astype("bfloat16")
    kernel = drawn(random, size, size, c, f).astype("bfloat16").astype("float32")
    out = Output(*_run(products, stride, False, widened(x), kernel, None))
    g = rounded(jax.tree.map(lambda a: drawn(random, *a.shape), out))
    given = kernel, None, rounded(out), g
    (y, _), dx, dkernel = all_of(stride, x, *given)
    (exact, _), dx_exact, dkernel_exact = all_of(
        stride, widened(x), kernel, None, widened(out), widened(g)
    )
    assert_close(dkernel, dkernel_exact)
    assert_nearest(y, exact)
    assert_nearest(dx, dx_exact)


@pytest.mark.parametrize("size, stride, high, wide, c, f, kind", CASES)
def test_what_is_normalised_is_rounded(size, stride, high, wide, c, f, kind):
    """Then masks, moments and rests are met, too."""
    random = np.random.default_rng(0)
    x = rounded(images(random, kind, 3, high, wide, c))
    kernel, mask = drawn(random, size, size, c, f), jnp.array([1.0, 1.0, 0.0])
    out = Output(*_run(products, stride, False, widened(x), kernel, mask))
    g = jax.tree.map(lambda a: drawn(random, *a.shape), out)
    g = rounded(g._replace(y=g.y * mask[:, None, None, None]))
    ours = all_of(stride, x, kernel, mask, rounded(out), g)
    theirs = all_of(stride, widened(x), kernel, mask, widened(out), widened(g))
    for a, b in zip(*map(jax.tree.leaves, (ours, theirs)), strict=True):
        away = jnp.abs(a.astype("float32") - b)
        assert away.max() <= 0.02 * jnp.abs(b).max()
        assert away.mean() <= 0.01 * jnp.abs(b).mean() + 1e-6


@pytest.mark.parametrize("stride", [1, 2])
def test_many_small_images(stride):
    """Of which a tile has several, and a thread more than fill one."""
    random = np.random.default_rng(0)
    x = drawn(random, 70, 4, 4, 64).astype("bfloat16")
    kernel = drawn(random, 3, 3, 64, 128).astype("bfloat16").astype("float32")
    out = Output(*_run(products, stride, False, widened(x), kernel, None))
    g = rounded(jax.tree.map(lambda a: drawn(random, *a.shape), out))
    ours = all_of(stride, x, kernel, None, rounded(out), g)
    theirs = all_of(stride, widened(x), kernel, None, widened(out), widened(g))
    assert_close(ours[2], theirs[2])
    assert_nearest(ours[0][0], theirs[0][0])
    assert_nearest(ours[1], theirs[1])
