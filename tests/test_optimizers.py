"""Optimizers step by step against PyTorch's formulas, written out in float64."""

import jax
import numpy as np
import optax
import pytest

from aljax.optimizers import (
    OPTIMIZERS,
    Adam,
    AdamSgd,
    AdamW,
    RmsProp,
    Sgd,
    rate_in,
    step_decay,
)

START = np.array([1.0, -2.0, 0.5])
GRADIENTS = np.array([[0.5, 0.25, -1.0], [-1.0, 0.75, 0.0], [0.1, 0.2, 0.3]])


def steps(settings, start=START, gradients=GRADIENTS, epochs=(0, 0, 0)) -> np.ndarray:
    """The weights after each step as training takes it."""
    direction = optax.with_extra_args_support(settings.direction())
    weights = start.astype(np.float32)
    state, path = direction.init(weights), []
    for gradient, epoch in zip(gradients.astype(np.float32), epochs, strict=True):
        step, state = direction.update(gradient, state, weights, epoch=epoch)
        weights = np.asarray(weights - rate_in(settings, epoch) * step)
        path.append(weights)
    return np.stack(path)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd(nesterov):
    rate, momentum, decay = 0.1, 0.9, 0.05
    w, b, path = START, np.zeros(3), []
    for gradient in GRADIENTS:
        g = gradient + decay * w
        b = momentum * b + g
        w = w - rate * (g + momentum * b if nesterov else b)
        path.append(w)
    np.testing.assert_allclose(
        steps(Sgd(rate, momentum, decay, nesterov)), path, rtol=1e-6
    )


def test_sgd_first_step_by_hand():
    # 1 - 0.1 (0.5 + 0.05 · 1) = 0.945, and so on.
    first = steps(Sgd(0.1, 0.9, 0.05))[0]
    np.testing.assert_allclose(first, [0.945, -2.015, 0.5975], rtol=1e-6)


@pytest.mark.parametrize("decoupled", [False, True], ids=["adam", "adamw"])
def test_adam(decoupled):
    rate, beta1, beta2, epsilon, decay = 0.01, 0.8, 0.9, 0.1, 0.05
    w, m, v, path = START, np.zeros(3), np.zeros(3), []
    for t, gradient in enumerate(GRADIENTS, 1):
        g = gradient if decoupled else gradient + decay * w
        w = w * (1 - rate * decay) if decoupled else w
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        root = np.sqrt(v / (1 - beta2**t)) + epsilon
        w = w - rate * m / (1 - beta1**t) / root
        path.append(w)
    make = AdamW if decoupled else Adam
    ours = steps(make(rate, beta1, beta2, epsilon, decay))
    np.testing.assert_allclose(ours, path, rtol=1e-6)


def test_rmsprop():
    rate, alpha, momentum, epsilon, decay = 0.01, 0.8, 0.9, 0.1, 0.05
    w, v, b, path = START, np.zeros(3), np.zeros(3), []
    for gradient in GRADIENTS:
        g = gradient + decay * w
        v = alpha * v + (1 - alpha) * g**2
        b = momentum * b + g / (np.sqrt(v) + epsilon)
        w = w - rate * b
        path.append(w)
    ours = steps(RmsProp(rate, alpha, momentum, epsilon, decay))
    np.testing.assert_allclose(ours, path, rtol=1e-6)


SWITCHING = AdamSgd(
    *(0.01, 0.8, 0.9, 0.1, 0.05),
    switch_epoch=2,
    sgd_learning_rate=0.3,
    sgd_momentum=0.7,
    sgd_weight_decay=0.02,
)
GIVEN = np.concatenate([GRADIENTS, 0.5 - GRADIENTS])
EPOCHS = (0, 0, 1, 2, 2, 3)


def test_adam_sgd():
    w, m, v, b, path = START, np.zeros(3), np.zeros(3), np.zeros(3), []
    for t, gradient in enumerate(GIVEN, 1):
        if t <= 3:
            g = gradient + 0.05 * w
            m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g**2
            w = w - 0.01 * m / (1 - 0.8**t) / (np.sqrt(v / (1 - 0.9**t)) + 0.1)
        else:
            b = 0.7 * b + gradient + 0.02 * w
            w = w - 0.3 * b
        path.append(w)
    ours = steps(SWITCHING, START, GIVEN, EPOCHS)
    np.testing.assert_allclose(ours, path, rtol=1e-6)


def test_adam_sgd_is_adam_and_then_a_new_sgd_bit_for_bit():
    ours = steps(SWITCHING, START, GIVEN, EPOCHS)
    first = steps(Adam(0.01, 0.8, 0.9, 0.1, 0.05), START, GIVEN[:3])
    then = steps(Sgd(0.3, 0.7, 0.02), first[-1], GIVEN[3:])
    np.testing.assert_array_equal(ours, [*first, *then])


def test_defaults_are_the_study_s():
    settings = {name: vars(make()) for name, make in OPTIMIZERS.items()}
    adam = {"learning_rate": 1e-4, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    assert settings == {
        "sgd": {
            "learning_rate": 0.1,
            "momentum": 0.9,
            "weight_decay": 5e-4,
            "nesterov": False,
        },
        "adam": adam | {"weight_decay": 1e-4},
        "adamw": adam | {"weight_decay": 5e-4},
        "rmsprop": {
            "learning_rate": 1e-4,
            "decay": 0.99,
            "momentum": 0.9,
            "epsilon": 1e-8,
            "weight_decay": 1e-4,
        },
        "adam_sgd": adam
        | {
            "weight_decay": 1e-4,
            "switch_epoch": 100,
            "sgd_learning_rate": 0.1,
            "sgd_momentum": 0.9,
            "sgd_weight_decay": 5e-4,
            "sgd_nesterov": False,
        },
    }


@pytest.mark.parametrize(
    "epoch, milestones, expected",
    [
        (0, (160,), 1.0),
        (159, (160,), 1.0),
        (160, (160,), 0.1),
        (199, (160,), 0.1),
        (120, (80, 120), 0.01),
        (7, (), 1.0),
    ],
)
def test_step_decay(epoch, milestones, expected):
    assert step_decay(epoch, milestones, 0.1) == pytest.approx(expected)
    traced = jax.jit(lambda e: step_decay(e, milestones, 0.1))(epoch)
    assert traced == pytest.approx(expected)
