"""The convolution of each platform's own making equals XLA's, forward and backward.

Errors are relative to the largest value. Winograd's transforms cost a float32 result
two digits: 3e-6 to 2e-5 is measured, and 3e-5 bounds it. bfloat16 inputs are computed
in float32 and rounded once.
"""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from aljax.models.conv import kernels
from aljax.models.conv.fused import layer

pytestmark = pytest.mark.usefixtures("full_float32")
MODEL = [  # image, channels in and out, kernel, stride: ResNets of width 64 and 16
    (32, 3, 64, 3, 1),
    (32, 1, 16, 3, 1),
    (32, 16, 16, 3, 1),
    (32, 64, 64, 3, 1),
    (32, 64, 128, 3, 2),
    (32, 64, 128, 1, 2),
    (16, 128, 128, 3, 1),
    (16, 32, 64, 3, 2),
    (8, 64, 128, 1, 2),
    (8, 64, 128, 3, 2),
    (4, 512, 512, 3, 1),
    (4, 128, 128, 3, 1),
    (32, 64, 256, 1, 1),
    (32, 256, 128, 1, 1),
    (4, 2048, 512, 1, 1),
]
SIZES = [(7, 9), (5, 5), (33, 17), (30, 30), (12, 16)]


def conv(x, kernel, stride=1):
    return layer(x, kernel, None, stride).y


def _direct(x, kernel, stride):
    pad = kernel.shape[0] // 2
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(pad, pad)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision="highest",
    )


def _inputs(batch, high, wide, c, f, size, stride, dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (batch, high, wide, c), dtype)
    kernel = jax.random.normal(keys[1], (size, size, c, f), dtype)
    g = jax.random.normal(keys[2], (batch, -(-high // stride), -(-wide // stride), f))
    return x, kernel, g.astype(dtype)


def _all(function, stride):
    def run(x, kernel, g):
        y, pull = jax.vjp(lambda x, kernel: function(x, kernel, stride), x, kernel)
        return y, *pull(g)

    return jax.jit(run)


def _error(a, b):
    a, b = a.astype(jnp.float32), b.astype(jnp.float32)
    return float(jnp.abs(a - b).max() / jnp.abs(b).max())


def _assert_equal(inputs, stride, bound):
    want = _all(_direct, stride)(*(x.astype(jnp.float32) for x in inputs))
    got = _all(conv, stride)(*inputs)
    assert [x.shape for x in got] == [x.shape for x in want]
    # Training may convolve in another way than scoring.
    x, kernel, _ = inputs
    trained = jax.jit(lambda x, kernel: layer(x, kernel, jnp.ones(len(x)), stride).y)
    pairs = *zip(got, want, strict=True), (trained(x, kernel), want[0])
    errors = [_error(a, b) for a, b in pairs]
    assert max(errors) < bound, errors


@pytest.fixture(params=["kernels", "products"])
def way(request, monkeypatch):
    """Kernels of aljax's own, and what stands in for them."""
    if request.param == "products":
        monkeypatch.setattr(kernels, "missing", lambda: "a test does without")
    elif kernels.missing():
        pytest.skip(kernels.missing())


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("high, c, f, size, stride", MODEL)
def test_every_shape_of_the_models(high, c, f, size, stride):
    _assert_equal(_inputs(2, high, high, c, f, size, stride), stride, 3e-5)


@pytest.mark.parametrize("high, wide", SIZES)
@pytest.mark.parametrize("size, stride", [(3, 1), (3, 2), (1, 1), (1, 2)])
def test_sizes_that_do_not_tile(high, wide, size, stride):
    _assert_equal(_inputs(3, high, wide, 17, 33, size, stride), stride, 3e-5)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("batch", [1, 67])
@pytest.mark.parametrize("size, stride", [(3, 1), (3, 2)])
def test_batches_that_do_not_divide_into_blocks(batch, size, stride):
    _assert_equal(_inputs(batch, 32, 32, 64, 64, size, stride), stride, 3e-5)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("size, stride", [(3, 1), (3, 2), (1, 2)])
def test_bfloat16(size, stride):
    inputs = _inputs(2, 9, 8, 32, 32, size, stride, jnp.bfloat16)
    _assert_equal(inputs, stride, 1e-2)


def test_a_kernel_of_five():
    _assert_equal(_inputs(2, 9, 8, 4, 6, 5, 2), 2, 3e-5)


def test_inside_a_loop_of_unknown_length():
    x, kernel, g = _inputs(2, 8, 8, 32, 32, 3, 1)

    @jax.jit
    def descend(steps):
        def step(_, kernel):
            return kernel - 0.1 * _all(conv, 1)(x, kernel, g)[2]

        return lax.fori_loop(0, steps, step, kernel)

    want = kernel - 0.3 * _all(_direct, 1)(x, kernel, g)[2]
    assert _error(descend(3), want) < 3e-5


def test_several_kernels_at_once():
    x, kernel, _ = _inputs(2, 8, 8, 32, 32, 3, 1)
    kernels = jnp.stack([kernel, 2 * kernel])
    got = jax.jit(jax.vmap(lambda k: conv(x, k)))(kernels)
    assert _error(got[1], 2 * _direct(x, kernel, 1)) < 3e-5
