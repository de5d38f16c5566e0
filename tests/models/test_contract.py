"""What `aljax.models` asks of a network, and that nothing more is needed."""

import dataclasses
from functools import partial
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax.inference import make_predict, predict_all
from aljax.learner import init, make_learner
from aljax.machine.devices import choose_devices, replicate
from aljax.models import MODELS, Features
from aljax.training import LabelledSet, make_train

B, K, WIDTH = 3, 5, 4


class Bare(nn.Module):
    """Logits and nothing else: no batch statistics, no stages, no embedding."""

    classes: int
    width: int
    dtype: type
    axis_name: str | None

    @nn.compact
    def __call__(self, x, mask=None, train=False):
        return Features(nn.Dense(self.classes)(x.reshape(len(x), -1)))


@pytest.fixture
def bare(tiny_learner, monkeypatch):
    """The blueprint of a bare network without a loss prediction module."""
    monkeypatch.setitem(MODELS, "bare", Bare)
    return dataclasses.replace(tiny_learner.blueprint, model="bare", ranking=None)


@pytest.mark.parametrize("name", MODELS)
def test_our_networks_keep_the_contract(name):
    dtype = jnp.dtype("bfloat16")
    network = MODELS[name](classes=K, width=WIDTH, dtype=dtype, axis_name=None)
    x = jax.ShapeDtypeStruct((B, 32, 32, 1), jnp.float32)
    mask = jax.ShapeDtypeStruct((B,), jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), x)
    assert variables.keys() <= {"params", "batch_stats"}
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    train = partial(network.apply, train=True, mutable=["batch_stats"])
    trained, statistics = jax.eval_shape(train, variables, x, mask)
    scored = jax.eval_shape(network.apply, variables, x)
    assert jax.tree.structure(statistics) == jax.tree.structure(
        {"batch_stats": variables["batch_stats"]}
    )
    for features in (trained, scored):
        assert (features.logits.shape, features.logits.dtype) == ((B, K), jnp.float32)
        assert [stage.ndim for stage in features.stages] == [4, 4, 4, 4]
        assert features.embedding.shape == (B, features.stages[-1].shape[-1])
        assert features.embedding.dtype == jnp.float32


def test_logits_are_enough_to_train_and_score(bare, tiny_dataset):
    learner, devices = make_learner(bare), choose_devices(1)
    data = SimpleNamespace(
        images=replicate(tiny_dataset.train_images, devices),
        labels=replicate(tiny_dataset.train_labels, devices),
    )
    labelled = LabelledSet(np.arange(40, dtype=np.int32), np.int32(40))
    given = labelled, jax.random.key(1), np.int32(50)
    state = init(learner, jax.random.key(0))
    state, *given = (replicate(x, devices) for x in (state, *given))
    program = make_train(learner, devices)
    state, report = program(state, data.images, data.labels, *given)
    assert (int(state.step), int(report.bad_step)) == (50, -1)
    assert state.batch_stats == {}
    predict = make_predict(learner, devices)
    scored = predict_all(
        predict, state, data.images, np.arange(7), 4, frozenset({"logits"})
    )
    assert scored.keys() == {"logits"}
    flat = jax.tree.leaves(state.params)
    assert {leaf.shape for leaf in flat} == {(3,), (32 * 32, 3)}
    x = tiny_dataset.train_images[:7].reshape(7, -1) / 255.0
    x = (x - bare.mean) / bare.std
    bias, kernel = (np.asarray(leaf) for leaf in sorted(flat, key=lambda a: a.ndim))
    np.testing.assert_allclose(scored["logits"], x @ kernel + bias, atol=1e-4)


def test_a_module_that_predicts_losses_wants_stages(bare, tiny_learner):
    blueprint = dataclasses.replace(bare, ranking=tiny_learner.blueprint.ranking)
    with pytest.raises(ValueError, match="--config.model: bare shows no stages") as e:
        init(make_learner(blueprint), jax.random.key(0))
    assert "loss_prediction.train=needed" in str(e.value)
