"""Optimizers step by step against PyTorch's formulas, written out in float64."""

import jax
import numpy as np
import pytest

from aljax.optimizers import OPTIMIZERS, Adam, AdamW, RmsProp, Sgd, step_decay

START = np.array([1.0, -2.0, 0.5])
GRADIENTS = np.array([[0.5, 0.25, -1.0], [-1.0, 0.75, 0.0], [0.1, 0.2, 0.3]])


def steps(settings) -> np.ndarray:
    """The weights after each step as training takes it."""
    direction = settings.direction()
    weights = START.astype(np.float32)
    state, path = direction.init(weights), []
    for gradient in GRADIENTS.astype(np.float32):
        step, state = direction.update(gradient, state, weights)
        weights = np.asarray(weights - settings.learning_rate * step)
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
