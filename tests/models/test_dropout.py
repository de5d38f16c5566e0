"""Dropout: where it is asked for and nowhere else, on any number of devices."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax.config import Config
from aljax.learner import make_blueprint, make_learner
from aljax.machine.devices import AXIS
from aljax.models import MODELS, Dropout
from aljax.models.resnet import BasicBlock, ResNet

ROWS = np.random.default_rng(0).normal(size=(8, 40)).astype(np.float32)


def dropped(devices, seed=0, rate=0.25):
    """What dropout makes of the rows, shared by so many devices."""

    def share(x):
        rngs = {"dropout": jax.random.key(seed)}
        return Dropout(rate, AXIS).apply({}, x, rngs=rngs)

    parts = ROWS.reshape(devices, -1, ROWS.shape[1])
    return np.asarray(jax.vmap(share, axis_name=AXIS)(parts)).reshape(ROWS.shape)


def test_leaves_out_a_share_and_scales_the_rest():
    out = dropped(1)
    kept = out != 0
    assert 0.6 < kept.mean() < 0.9
    np.testing.assert_allclose(out[kept], ROWS[kept] / 0.75, rtol=1e-6)
    assert len({tuple(row) for row in kept.tolist()}) == len(ROWS)
    assert (dropped(1, seed=1) != out).any()


@pytest.mark.parametrize("devices", [2, 4, 8])
def test_many_devices_leave_out_what_one_does(devices):
    np.testing.assert_array_equal(dropped(devices), dropped(1))


def test_without_an_rng_nothing_is_left_out():
    np.testing.assert_array_equal(Dropout(0.5, AXIS).apply({}, ROWS), ROWS)


def blueprints(dataset):
    config = Config(width=4)
    plain = make_blueprint(config, dataset, with_module=False)
    return plain, make_blueprint(config, dataset, with_module=False, stochastic=True)


def test_blueprints_have_it_only_where_it_is_asked_for(tiny_dataset):
    plain, stochastic = blueprints(tiny_dataset)
    assert (plain.dropout, plain.passes) == (0, 0)
    assert (stochastic.dropout, stochastic.passes) == (0.5, 20)
    other = dataclasses.replace(Config(width=4))
    other.query.passes, other.query.dropout = 7, 0.1
    assert make_blueprint(other, tiny_dataset, False) == plain
    assert make_blueprint(other, tiny_dataset, False, True) != stochastic
    assert make_learner(plain).network.dropout is None
    assert make_learner(stochastic).network.dropout == Dropout(0.5, AXIS)


def test_a_network_with_dropout_is_the_same_without_an_rng(tiny_dataset, monkeypatch):
    small = partial(ResNet, BasicBlock, (1,))
    monkeypatch.setitem(MODELS, Config().model, small)  # what takes long is compiling
    plain, stochastic = (make_learner(r).network for r in blueprints(tiny_dataset))
    x = jnp.ones((2, 32, 32, 1))
    variables = plain.init(jax.random.key(0), x)
    again = stochastic.init(jax.random.key(0), x)
    jax.tree.map(np.testing.assert_array_equal, variables, again)
    np.testing.assert_array_equal(
        plain.apply(variables, x).logits, stochastic.apply(variables, x).logits
    )


def test_a_network_that_takes_none_is_refused(tiny_dataset, monkeypatch):
    def bare(classes, width, dtype, axis_name):
        raise AssertionError("is not made")

    monkeypatch.setitem(MODELS, "bare", bare)
    config = Config(model="bare")
    blueprint = make_blueprint(config, tiny_dataset, False, stochastic=True)
    with pytest.raises(ValueError, match="config.model: bare takes no dropout"):
        make_learner(blueprint)
