"""A layer's normalisation and moments equal plain ones, and so do their gradients.

Errors are relative to the largest value; a layer of 1x1 convolution keeps Winograd's
out of them.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax.models.conv.fused import layer
from aljax.models.conv.pending import Pending
from aljax.models.norm import (
    EPSILON,
    Affine,
    Moments,
    moments,
    moments_at_once,
    no_moments,
    normalisation,
    over_devices,
    total,
    total_by_product,
)

pytestmark = pytest.mark.usefixtures("full_float32")


def _error(a, b):
    return float(jnp.abs(a - b).max() / (jnp.abs(b).max() + 1e-30))


def _plain(x, scale, bias, mask):
    weight = mask[:, None, None, None]
    count = mask.sum() * x.shape[1] * x.shape[2]
    mean = (x * weight).sum((0, 1, 2)) / count
    variance = (jnp.square(x - mean) * weight).sum((0, 1, 2)) / count
    return (x - mean) / jnp.sqrt(variance + EPSILON) * scale + bias


def _norm(m, scale, bias):
    return normalisation(m.mean, m.variance(), scale, bias)


def _fused(inputs, mask, rest):
    """Convolution, norm, sum with `rest`, relu; then another one, and its norm."""
    out = layer(inputs["x"], inputs["k1"], mask)
    x = Pending(out.y, _norm(out.moments, inputs["s1"], inputs["b1"]))
    if rest == "images":
        x = x._replace(rest=inputs["rest"])
    if rest == "pending":
        other = layer(inputs["x"], inputs["k3"], mask)
        norm = _norm(other.moments, inputs["s3"], inputs["b3"])
        x = x._replace(rest=other.y, rest_norm=norm)
    out = layer(x, inputs["k2"], mask, 2, rest != "none")
    z = _norm(out.moments, inputs["s2"], inputs["b2"])(out.y)
    return z, 0.0 if out.x is None else out.x


def _reference(inputs, mask, rest):
    x = inputs["x"] @ inputs["k1"][0, 0]
    x = _plain(x, inputs["s1"], inputs["b1"], mask)
    if rest == "images":
        x += inputs["rest"]
    if rest == "pending":
        other = inputs["x"] @ inputs["k3"][0, 0]
        x += _plain(other, inputs["s3"], inputs["b3"], mask)
    x = jax.nn.relu(x)
    y = x[:, ::2, ::2] @ inputs["k2"][0, 0]
    return _plain(y, inputs["s2"], inputs["b2"], mask), 0.0 if rest == "none" else x


def _inputs(batch):
    c = 6
    shapes = {"x": (batch, 5, 4, c), "rest": (batch, 5, 4, c)}
    for i in "123":
        shapes |= {f"k{i}": (1, 1, c, c), f"s{i}": (c,), f"b{i}": (c,)}
    random = np.random.default_rng(0)
    return {
        k: jnp.asarray(random.normal(size=s, scale=1.0), jnp.float32)
        for k, s in shapes.items()
    }


@pytest.mark.parametrize("rest", ["none", "images", "pending"])
@pytest.mark.parametrize("batch, real", [(4, 4), (9, 6), (3, 1)])
def test_values_and_gradients(rest, batch, real):
    inputs = _inputs(batch)
    mask = (jnp.arange(batch) < real).astype(jnp.float32)

    def loss(function, inputs):
        z, x = function(inputs, mask, rest)
        weight = mask[:, None, None, None]
        return (jnp.sin(z) * weight).sum() + (jnp.cos(x) * weight).sum(), z[:real]

    def run(function):
        return jax.jit(jax.value_and_grad(lambda i: loss(function, i), has_aux=True))(
            inputs
        )

    (_, z), got = run(_fused)
    (_, z_wanted), wanted = run(_reference)
    assert _error(z, z_wanted) < 1e-5
    largest = max(float(jnp.abs(g).max()) for g in wanted.values())
    for name in inputs:
        assert float(jnp.abs(got[name] - wanted[name]).max()) < 3e-5 * largest, name
    assert not got["x"][real:].any() and not got["rest"][real:].any()


@pytest.mark.parametrize("rest", ["plain", "none", "images", "pending"])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_layer_of_1x1_scores_as_it_trains(stride, rest):
    random = np.random.default_rng(0)

    def normal(*shape):
        return jnp.asarray(random.normal(size=shape), jnp.float32)

    y, other = normal(2, 37, 32, 32, 24)
    norms = [normalisation(*jnp.abs(normal(4, 24))) for _ in range(2)]
    x = {
        "plain": y,
        "none": Pending(y, norms[0]),
        "images": Pending(y, norms[0], other),
        "pending": Pending(y, norms[0], other, norms[1]),
    }[rest]
    kernel = normal(1, 1, 24, 40)
    trained = layer(x, kernel, jnp.ones(37), stride, True)
    scored = layer(x, kernel, None, stride, True)
    assert scored.moments is None
    np.testing.assert_array_equal(scored.x, trained.x)
    assert _error(scored.y, trained.y) < 1e-6
    value = x if rest == "plain" else x.value()
    assert _error(scored.x, value) < 1e-6


def test_moments_do_not_cancel():
    random = np.random.default_rng(0)
    x = (1e4 + random.normal(size=(8, 6, 6, 3))).astype(np.float32)
    x[6:] = 1e9  # padding
    mask = jnp.asarray([1.0] * 6 + [0.0] * 2)
    wanted = x[:6].astype(np.float64).reshape(-1, 3)
    takes = [partial(moments, total=sums) for sums in (total, total_by_product)]
    for take in (*takes, moments_at_once):
        parts = [take(x[i : i + 2], mask[i : i + 2]) for i in (0, 2, 4, 6)]
        m = sum(parts, no_moments(3))
        np.testing.assert_allclose(m.mean, wanted.mean(0), rtol=1e-6)
        np.testing.assert_allclose(m.variance(), wanted.var(0), rtol=1e-3)
        np.testing.assert_allclose(m.unbiased(), wanted.var(0, ddof=1), rtol=1e-3)


def test_totals_of_many_pixels_lose_no_digit():
    random = np.random.default_rng(0)
    x = random.normal(1, 1, (16, 32, 32, 64)).astype(np.float32)
    weight = (np.arange(16) < 13).astype(np.float32)
    wanted = np.einsum("bhwc,b->c", x.astype(np.float64), weight)
    got = np.asarray(jax.jit(total_by_product)(x, weight), np.float64)
    assert np.abs(got - wanted).max() < 5e-7 * np.abs(wanted).max()


@pytest.mark.parametrize("take", [moments, moments_at_once])
def test_no_rows_give_no_nan(take):
    nothing = take(jnp.ones((2, 3, 3, 4)), jnp.zeros(2))
    assert not any(part.any() for part in nothing)
    m = nothing + no_moments(4)
    assert np.isfinite(np.concatenate([m.mean, m.variance(), m.unbiased()])).all()


def test_moments_of_bfloat16_at_once():
    """Around a value of each channel; around zero, the variance errs by 2e-3."""
    x = jax.random.normal(jax.random.key(0), (32, 16, 16, 8)) + 10
    x, mask = x.astype(jnp.bfloat16), jnp.ones(32)
    got = np.asarray(moments_at_once(x, mask).variance(), np.float64)
    wanted = np.asarray(x, np.float64).var((0, 1, 2))
    np.testing.assert_allclose(got, wanted, rtol=2e-5)


def test_devices_share_moments():
    x = jax.random.normal(jax.random.key(0), (4, 3, 5, 5, 2)) + 3
    mask = jnp.asarray([[1, 1, 1], [1, 1, 0], [0, 0, 0], [1, 0, 0]], jnp.float32)
    each = jax.vmap(lambda x, m: over_devices(moments(x, m), "d"), axis_name="d")
    m = each(x, mask)
    whole = moments(x.reshape(-1, 5, 5, 2), mask.ravel())
    for i in range(4):
        got = jax.tree.map(lambda a, i=i: a[i], m)
        for a, b in zip(got, whole, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)


def test_gradients_through_moments_of_devices():
    x = jax.random.normal(jax.random.key(0), (2, 3, 4, 4, 5))
    kernel = jax.random.normal(jax.random.key(1), (1, 1, 5, 5))
    mask = jnp.asarray([[1, 1, 1], [1, 0, 0]], jnp.float32)

    def local(x, mask, kernel):
        out = layer(x, kernel, mask)
        m = over_devices(out.moments, "d")
        z = normalisation(m.mean, m.variance(), jnp.ones(5), jnp.zeros(5))(out.y)
        return (jnp.sin(z) * mask[:, None, None, None]).sum()

    def plain(x, kernel):
        z = _plain((x @ kernel[0, 0]).reshape(6, 4, 4, 5), 1, 0, mask.ravel())
        return (jnp.sin(z) * mask.ravel()[:, None, None, None]).sum()

    each = jax.vmap(local, in_axes=(0, 0, None), axis_name="d")
    got = jax.grad(lambda x: each(x, mask, kernel).sum())(x)
    assert _error(got, jax.grad(plain)(x, kernel)) < 1e-5


def test_moments_add_up_in_any_order():
    x = jax.random.normal(jax.random.key(0), (6, 3, 3, 2))
    a, b = moments(x[:1], jnp.ones(1)), moments(x[1:], jnp.ones(5))
    for m in (a + b, b + a):
        for got, want in zip(m, moments(x, jnp.ones(6)), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    assert isinstance(a + b, Moments)


def test_a_layer_of_1x1_hides_no_nan():
    norm = Affine(jnp.zeros(3), jnp.full(3, jnp.nan), jnp.zeros(3))
    out = layer(Pending(jnp.ones((2, 4, 4, 3)), norm), jnp.ones((1, 1, 3, 3)), None)
    assert jnp.isnan(out.y).all()
