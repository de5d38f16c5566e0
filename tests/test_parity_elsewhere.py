"""What runs on a GPU, run on a CPU: PyTorch's numbers too, but for the last digits."""

import jax.numpy as jnp
import pytest
from jax import lax

from tests.support.parity import error, make_pair
from tests.support.trees import flatten
from tests.test_parity import (
    FORWARD,
    ROWS,
    STATISTICS,
    assert_close,
    assert_gradients,
    smooth_batch,
    train_program,
    train_theirs,
)

pytestmark = pytest.mark.usefixtures("full_float32", "elsewhere")


@pytest.fixture
def elsewhere(monkeypatch):
    """Takes what stands beside the way of CPUs."""

    def take(*given, default, **others):
        return default(*given)

    monkeypatch.setattr(lax, "platform_dependent", take)


def test_joint_loss_and_every_gradient():
    """Statistics in one pass over each result, and XLA's own convolutions."""
    name, channels, count = "resnet18", 3, ROWS - 1
    pair = make_pair(name, channels)
    (loss, aux), grads = train_program.__wrapped__(name, channels)(
        (pair.variables["params"], pair.module_variables["params"]),
        pair.variables["batch_stats"],
        *smooth_batch(name, channels, count),
        jnp.int32(count),
        jnp.bool_(False),
    )
    theirs = train_theirs(name, channels, count, False)
    assert error(loss, theirs["joint"]) < FORWARD
    assert_close(flatten({"batch_stats": aux[0]}), theirs["statistics"], STATISTICS)
    expected = theirs["gradients"], theirs["contributions"]
    for ours, *rest in zip(grads, *expected, strict=True):
        assert_gradients(ours, *rest)
