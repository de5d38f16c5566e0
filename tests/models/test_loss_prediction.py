"""The ranking loss by hand, and the module on every family of networks."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax.models import MODELS, LossPredictionModule, ranking_loss

both_gradients = jax.grad(ranking_loss, argnums=(0, 1))


def test_even_count():
    predicted, target = jnp.array([1.0, 2, 4, 3]), jnp.array([4.0, 1, 2, 3])
    # Image 0 against 3: sign 1, 1 - (1 - 3) = 3; 1 against 2: sign -1, 1 - 2 < 0.
    assert ranking_loss(predicted, target, 4) == 1.5
    assert ranking_loss(predicted, target, 4, margin=3.0) == (5 + 1) / 2


def test_odd_count_leaves_the_middle_alone():
    predicted, target = jnp.array([1.0, 2, 9, 4, 3]), jnp.array([4.0, 1, 7, 2, 3])
    assert ranking_loss(predicted, target, 5) == 1.5
    gradient, _ = both_gradients(predicted, target, 5)
    assert gradient.tolist() == [-0.5, 0, 0, 0, 0.5]


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images_for_a_pair(count):
    predicted, target = jnp.array([1.0, 2, 3]), jnp.array([3.0, 2, 1])
    assert ranking_loss(predicted, target, count) == 0
    assert both_gradients(predicted, target, count)[0].tolist() == [0, 0, 0]


def test_tie_has_sign_minus_one():
    assert ranking_loss(jnp.array([0.5, 0.25]), jnp.array([2.0, 2.0]), 2) == 1.25


@pytest.mark.parametrize("garbage", [1e30, -1e30, np.inf, np.nan])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_padding_rows_are_ignored(count, garbage):
    random = np.random.default_rng(count)
    real = random.normal(0, 1, (2, count)).astype(np.float32)
    padded = np.full((2, 9), garbage, np.float32)
    padded[:, :count] = real
    assert ranking_loss(*padded, count) == ranking_loss(*real, count)
    gradient = both_gradients(*padded, count)[0]
    np.testing.assert_array_equal(gradient[:count], both_gradients(*real, count)[0])
    np.testing.assert_array_equal(gradient[count:], 0)


def test_no_gradient_flows_into_the_losses():
    predicted, target = jnp.array([1.0, 2, 4]), jnp.array([4.0, 1, 2])
    assert both_gradients(predicted, target, 3)[1].tolist() == [0, 0, 0]


@cache
def shapes_of(name: str, width: int, size: int = 32):
    """Shapes of the parameters and of the stages, without computing either."""
    network = MODELS[name](classes=10, width=width)
    image = jnp.zeros((3, size, size, 3))
    key = jax.random.key(0)
    features, variables = jax.eval_shape(network.init_with_output, key, image)
    return variables["params"], features.stages


def draw_module(stages):
    """The module, with random stages and weights for it."""
    random, module = np.random.default_rng(0), LossPredictionModule()
    shapes = stages, jax.eval_shape(module.init, jax.random.key(1), stages)
    stages, variables = jax.tree.map(
        lambda s: random.normal(0, 0.3, s.shape).astype(np.float32), shapes
    )
    return module, stages, variables


def by_numpy(params, stages):
    hidden = []
    for i, stage in enumerate(stages):
        layer = params[f"stage{i + 1}"]
        y = stage.astype(np.float64).mean((1, 2)) @ layer["kernel"] + layer["bias"]
        hidden.append(np.maximum(y, 0))
    head = params["head"]
    return (np.concatenate(hidden, -1) @ head["kernel"] + head["bias"])[:, 0]


@pytest.mark.parametrize("width, size", [(8, 32), (16, 40)])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"], ids=["basic", "bottleneck"])
def test_module_fits_every_network(name, width, size):
    module, stages, variables = draw_module(shapes_of(name, width, size)[1])
    predicted = module.apply(variables, stages)
    assert predicted.shape == (3,) and predicted.dtype == np.float32
    expected = by_numpy(variables["params"], stages)
    np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("detach", [False, True])
def test_detaching_stops_the_gradient_of_the_stages_alone(detach):
    module, stages, variables = draw_module(shapes_of("resnet18", 8)[1])

    def total(variables, stages, detach):
        return module.apply(variables, stages, detach).sum()

    gradient = jax.jit(jax.grad(total, argnums=(0, 1)))
    of_module, of_stages = gradient(variables, stages, detach)
    assert all(np.any(g) != detach for g in of_stages)
    attached, _ = gradient(variables, stages, False)
    for ours, expected in zip(
        *map(jax.tree.leaves, (of_module, attached)), strict=True
    ):
        assert np.any(ours)
        np.testing.assert_array_equal(ours, expected)


def size_of(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    "name, network, module",
    [
        ("resnet18", 11_173_962, 123_905),
        ("resnet34", 21_282_122, 123_905),
        ("resnet50", 23_520_842, 492_545),
        ("resnet101", 42_512_970, 492_545),
        ("resnet152", 58_156_618, 492_545),
    ],
)
def test_parameter_counts(name, network, module):
    params, stages = shapes_of(name, 64)
    assert size_of(params) == network
    key = jax.random.key(0)
    assert size_of(jax.eval_shape(LossPredictionModule().init, key, stages)) == module
