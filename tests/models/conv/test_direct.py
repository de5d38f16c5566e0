"""Kernels of aljax's own give what matrix products give, on any number of threads."""

import itertools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax.models.conv import direct, kernels
from aljax.models.conv.fused import Output, _gradients, _run
from aljax.models.conv.methods import output_shape, products
from aljax.models.conv.pending import Pending
from aljax.models.norm import Affine, moments

pytestmark = pytest.mark.skipif(bool(kernels.missing()), reason=kernels.missing())
BOUND = 3e-5  # of the largest value: what products themselves are allowed
INPUTS = ("images", "normalised", "with rest", "with rest of its own norm")


def drawn(random, *shape):
    return jnp.asarray(random.standard_normal(shape, dtype=np.float32))


def norm(random, c):
    return Affine(drawn(random, c) / 9, 1 + drawn(random, c) / 9, drawn(random, c) / 9)


def images(random, kind, *shape):
    """Of one of INPUTS."""
    y, c = drawn(random, *shape), shape[-1]
    if kind == "images":
        return y
    rest = None if kind == "normalised" else drawn(random, *shape)
    rest_norm = norm(random, c) if kind == INPUTS[3] else None
    return Pending(y, norm(random, c), rest, rest_norm)


def assert_close(ours, theirs):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.shape == b.shape
        assert jnp.abs(a - b).max() <= BOUND * jnp.abs(b).max()


KERNELS = [(3, 1), (3, 2), (1, 1), (1, 2)]  # size, stride
SHAPES = [(32, 32, 16, 16), (7, 9, 32, 64), (4, 4, 96, 48), (5, 1, 16, 32)]
# Each kernel meets each shape and each kind of images once.
CASES = [
    (*KERNELS[i], *SHAPES[j], INPUTS[(i + j) % 4], bool((i + j // 2) % 2), j != i)
    for i, j in itertools.product(range(4), range(4))
]


@pytest.mark.parametrize("size, stride, high, wide, c, f, kind, keep, masked", CASES)
def test_layers_and_all_gradients(size, stride, high, wide, c, f, kind, keep, masked):
    """The last row of a batch is padding."""
    random = np.random.default_rng(0)
    x = images(random, kind, 3, high, wide, c)
    kernel = drawn(random, size, size, c, f)
    mask = jnp.array([1.0, 1.0, 0.0]) if masked else None
    shape = output_shape((3, high, wide, c), kernel.shape, stride)
    theirs = _run(products, stride, keep, x, kernel, mask)
    ours = direct.layer(stride, keep, x, kernel, mask, shape)
    assert_close(ours, tuple(theirs))
    g = jax.tree.map(lambda a: drawn(random, *a.shape), theirs)
    if masked:  # a loss has no gradient by padding
        g = g._replace(y=g.y * mask[:, None, None, None])
    saved = x, kernel, mask, theirs._replace(x=None), g
    dx, dkernel = _gradients(products, stride, *saved)
    assert_close(direct.input_gradient(stride, *saved), dx)
    assert_close(direct.kernel_gradient(stride, *saved), dkernel)


def rounded(tree):
    """All images in bfloat16."""
    return jax.tree.map(lambda a: a.astype("bfloat16") if a.ndim == 4 else a, tree)


def widened(tree):
    return jax.tree.map(lambda a: a.astype("float32"), tree)


@pytest.mark.parametrize("case", CASES[::3])
def test_bfloat16_is_rounded_once(case):
    """All else is what float32 computes from the same numbers."""
    size, stride, high, wide, c, f, kind, keep, masked = case
    in_float32 = kernels.tiles() == "avx512" and (size, stride) == (3, 1)
    if kernels.tiles() != "off" and c % 32 == f % 32 == 0 and not in_float32:
        pytest.skip("tiles of AMX round what they multiply, too: test_amx.py")
    random = np.random.default_rng(0)
    x = rounded(images(random, kind, 3, high, wide, c))
    kernel = drawn(random, size, size, c, f)
    mask = jnp.array([1.0, 1.0, 0.0]) if masked else None
    shape = output_shape((3, high, wide, c), kernel.shape, stride)

    def all_of(x, out, g):
        saved = x, kernel, mask, out._replace(x=None), g
        found = direct.layer(stride, keep, x, kernel, mask, shape)
        dx = direct.input_gradient(stride, *saved)
        return Output(*found), dx, direct.kernel_gradient(stride, *saved)

    exact = _run(products, stride, keep, widened(x), kernel, mask)
    out = exact._replace(y=exact.y.astype("bfloat16"))
    g = jax.tree.map(lambda a: drawn(random, *a.shape), exact)
    g = rounded(g)
    ours, theirs = all_of(x, out, g), all_of(*widened((x, out, g)))
    nearest = jax.tree.map(lambda a, b: b.astype(a.dtype), ours, theirs)
    if masked:  # of what was stored, as the gradients take them
        assert_close(ours[0].moments, moments(ours[0].y, mask))
        nearest = nearest[0]._replace(moments=ours[0].moments), *nearest[1:]
    for a, b in zip(*map(jax.tree.leaves, (ours, nearest)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_bfloat16_is_the_nearest():
    """Ties go to the even one, too large numbers to infinity, and NaN stays."""
    x = np.random.default_rng(0).standard_normal((1, 4, 96, 16), dtype=np.float32)
    x[0, 0, :5, :] = np.array([3.3e38, -3.39e38, np.inf, np.nan, 0])[:, None]
    x, tie = jnp.asarray(x, jnp.bfloat16), 1 + 2**-8
    kernel = jnp.full((1, 1, 16, 16), tie) * jnp.eye(16)
    y, _, _ = direct.layer(1, False, x, kernel, None, x.shape)
    exact = x.astype("float32") @ kernel[0, 0]
    nearest = exact.astype("bfloat16").astype("float32")
    np.testing.assert_array_equal(y.astype("float32"), nearest)
    assert jnp.isinf(y).any() and jnp.isnan(y).any()


@pytest.mark.parametrize("size, stride", KERNELS)
@pytest.mark.parametrize("count, high, wide", [(300, 2, 2), (300, 4, 4), (2, 29, 28)])
def test_a_thread_takes_several_pieces(size, stride, count, high, wide):
    """Several small images, or some rows of a large one, the last piece short."""
    random = np.random.default_rng(0)
    x = images(random, INPUTS[1], count, high, wide, 64)
    kernel, mask = drawn(random, size, size, 64, 128), jnp.ones(count)
    shape = output_shape(x.y.shape, kernel.shape, stride)
    theirs = _run(products, stride, False, x, kernel, mask)
    assert_close(direct.layer(stride, False, x, kernel, mask, shape), tuple(theirs))
    g = jax.tree.map(lambda a: drawn(random, *a.shape), theirs)
    saved = x, kernel, mask, theirs, g
    dx, dkernel = _gradients(products, stride, *saved)
    assert_close(direct.input_gradient(stride, *saved), dx)
    assert_close(direct.kernel_gradient(stride, *saved), dkernel)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "size, stride, c, f",
    [*((*kernel, 16, 256 * kernel[1] ** 2) for kernel in KERNELS), (1, 1, 256, 16)],
)
def test_past_the_cache_lie_the_same_bits(size, stride, c, f, dtype):
    """Results, or in the last case images that are kept, too large to stay in it."""
    random = np.random.default_rng(0)
    count = 33 if dtype == "float32" else 65
    x = images(random, "with rest", count, 32, 32, c)
    x = x if dtype == "float32" else rounded(x)
    kernel = drawn(random, size, size, c, f)

    def some(first, stop):
        part = x._replace(y=x.y[first:stop], rest=x.rest[first:stop])
        shape = output_shape(part.y.shape, kernel.shape, stride)
        found = direct.layer(stride, c > f, part, kernel, None, shape)
        return found[0], found[2]

    at_once, pieces = some(0, count), (some(0, 20), some(20, count))
    assert max(a.nbytes for a in jax.tree.leaves(at_once)) >= 1 << 25
    for whole, *parts in zip(at_once, *pieces, strict=True):
        if whole is not None:
            np.testing.assert_array_equal(whole, np.concatenate(parts))


@pytest.mark.parametrize("c", [1, 3, 5])
def test_colours_have_a_kernel_gradient(c):
    random = np.random.default_rng(0)
    x, kernel = drawn(random, 5, 8, 8, c), drawn(random, 3, 3, c, 16)
    mask, shape = jnp.ones(5), (5, 8, 8, 16)
    theirs = _run(products, 1, False, x, kernel, mask)
    assert direct.fits(x, kernel) and not direct.has_input_gradient(kernel)
    assert_close(direct.layer(1, False, x, kernel, mask, shape), tuple(theirs))
    g = Output(drawn(random, *shape), jax.tree.map(jnp.ones_like, theirs.moments), None)
    saved = x, kernel, mask, theirs, g
    dkernel = _gradients(products, 1, *saved)[1]
    assert_close(direct.kernel_gradient(1, *saved), dkernel)


def test_a_number_that_is_none_stays_so():
    """Or a network that diverged would look sane."""
    random = np.random.default_rng(0)
    x = images(random, "with rest", 2, 8, 8, 16)
    x = x._replace(y=x.y.at[1, 4, 4, 3].set(jnp.nan))
    kernel = drawn(random, 3, 3, 16, 16)
    y, moments, _ = direct.layer(1, False, x, kernel, jnp.ones(2), (2, 8, 8, 16))
    assert jnp.isnan(y[1, 3:6, 3:6]).all() and jnp.isfinite(y[0]).all()
    assert jnp.isnan(moments.mean).all()


SUMS = """
import numpy as np, jax
from aljax.models.conv.fused import layer
random = np.random.default_rng(0)
x, k = random.normal(size=(37, 16, 16, 32)), random.normal(size=(3, 3, 32, 32))
def loss(x, k, stride):
    out = layer(x, k, np.ones(37, np.float32), stride)
    return (out.y.astype("f") ** 3).sum() + (out.moments.squares ** 2).sum()
for stride, dtype in (1, "float32"), (2, "float32"), (1, "bfloat16"), (2, "bfloat16"):
    gradients = jax.jit(jax.grad(loss, (0, 1)), static_argnums=2)
    found = gradients(x.astype("f").astype(dtype), k.astype("f"), stride)
    print([float(abs(a).max()) for a in found])
    print(*(hash(np.asarray(a).tobytes()) for a in jax.tree.leaves(found)))
"""


def test_one_core_gives_the_bits_of_all():
    def run(*before):
        environment = os.environ | {"PYTHONHASHSEED": "0"}
        command = *before, sys.executable, "-c", SUMS
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert not done.returncode, done.stderr
        return done.stdout

    core = str(min(os.sched_getaffinity(0)))
    assert run() == run("taskset", "--cpu-list", core)
