"""Any number of images in batches of any size: the answers of one pass over all."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from aljax import inference
from aljax.inference import make_predict, predict_all
from aljax.machine.devices import choose_devices, replicate

EVERYTHING = frozenset({"logits", "predicted_loss", "embedding"})
COUNT = 37
# float32 rounding of other batch shapes; seen: 2e-6 of the largest.
TOLERANCE = dict(rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def setup(tiny_learner, tiny_dataset, draw_state):
    """A network, its scoring program, and the answers of one plain pass."""
    learner, devices, state = tiny_learner, choose_devices(1), draw_state(tiny_learner)
    indices = np.random.default_rng(1).permutation(240)[:COUNT]
    x = tiny_dataset.train_images[indices] / 255.0
    x = ((x - learner.blueprint.mean) / learner.blueprint.std).astype(np.float32)

    @jax.jit
    def plain(x):
        features = learner.network.apply(state.variables, x)
        predicted = learner.module.apply({"params": state.loss_params}, features.stages)
        return {
            "logits": features.logits,
            "embedding": features.embedding,
            "predicted_loss": predicted,
        }

    return SimpleNamespace(
        predict=make_predict(learner, devices),
        state=replicate(state, devices),
        images=replicate(tiny_dataset.train_images, devices),
        indices=indices,
        expected=jax.device_get(plain(x)),
    )


def score(setup, batch_size, needs=EVERYTHING, count=COUNT, **more):
    indices = setup.indices[:count]
    return predict_all(
        setup.predict, setup.state, setup.images, indices, batch_size, needs, **more
    )


@pytest.mark.parametrize("ahead", [0, 2, 9])
@pytest.mark.parametrize("batch_size", [8, 50])
def test_equals_one_pass_over_all_images(setup, batch_size, ahead):
    outputs = score(setup, batch_size, ahead=ahead)
    assert outputs.keys() == EVERYTHING
    for name, expected in setup.expected.items():
        assert outputs[name].shape == expected.shape
        scale = np.abs(expected).max()
        np.testing.assert_allclose(outputs[name] / scale, expected / scale, **TOLERANCE)


def test_answers_differ_from_image_to_image(setup):
    logits = setup.expected["logits"]
    assert len(np.unique(logits.round(4), axis=0)) == COUNT


@pytest.mark.parametrize("count", [1, 7, 8, 9])
def test_counts_around_the_batch_size(setup, count):
    outputs = score(setup, 8, count=count)
    whole = score(setup, 8)
    for name in EVERYTHING:
        assert len(outputs[name]) == count
        np.testing.assert_array_equal(outputs[name][:8], whole[name][:count][:8])


def test_devices_have_batches_before_answers_are_awaited(setup, monkeypatch):
    log = []

    def predict(*given):
        log.append("give")
        return setup.predict(*given)

    def fetch(x):
        log.append("fetch")
        return np.asarray(x)

    monkeypatch.setattr(inference, "fetch", fetch)
    given = setup.state, setup.images, setup.indices, 8, frozenset({"logits"})
    predict_all(predict, *given, ahead=2)
    assert log == ["give"] * 2 + ["give", "fetch"] * 3 + ["fetch"] * 2


def test_gives_only_what_is_needed(setup):
    assert score(setup, 8, frozenset({"predicted_loss"})).keys() == {"predicted_loss"}
    assert score(setup, 8, frozenset()) == {}


def test_may_be_stopped_after_any_batch(setup):
    calls = []

    def stop():
        calls.append(None)
        if len(calls) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        score(setup, 8, on_batch=stop)
    assert len(calls) == 2
    calls[:] = [None] * 9
    score(setup, 8, on_batch=lambda: calls.append(None))
    assert len(calls) == 9 + 5
