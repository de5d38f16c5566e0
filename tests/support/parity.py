"""What tests of parity with PyTorch share: one network with one set of weights, twice.

An error is max |a - b| over one tensor, b being PyTorch's, divided by a scale: max |b|,
or for a gradient the largest sum of the absolute values of the terms that it sums
(`contributions.py`). PyTorch runs in float64, so that a bound speaks of aljax's own
rounding and not of the sum of two.
Weights, statistics and normalisation are random: nothing hides behind ones and zeros.
Padding rows hold garbage; λ and ξ are not 1.

Gradients jump where a ReLU's input changes sign. In a deep network float32 rounding
carries a few inputs across, and each moves every gradient by about a percent:
PyTorch's own float32 does so too. Gradients are therefore compared on batches that
keep all inputs of all ReLUs away from zero; normalisations whose bias is large against
their scale make such batches common enough to find.
"""

import dataclasses
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aljax.config import Config
from aljax.data import Dataset
from aljax.learner import Learner, make_blueprint
from aljax.machine.devices import AXIS
from aljax.models import MODELS, LossPredictionModule, ResNet
from aljax.models.resnet import BasicBlock

CLASSES, WIDTH = 10, 4
WEIGHT, MARGIN = 0.7, 1.3  # λ, ξ
_TEN_LAYERS = partial(ResNet, BasicBlock, (1, 1, 1, 1))
# `wide` has enough channels for the kernels of aljax/models/conv/direct.cc.
NETWORKS = MODELS | {"resnet10": _TEN_LAYERS, "wide": _TEN_LAYERS}
WIDTHS = dict.fromkeys(NETWORKS, WIDTH) | {"wide": 16}


@dataclasses.dataclass(frozen=True)
class Pair:
    """aljax's network and module, and what makes PyTorch's the same."""

    learner: Learner
    variables: dict[str, Any]
    module_variables: dict[str, Any]
    torch: tuple  # the network, and the variables of both: what `ask` wants first


def error(a, b, scale: float | None = None) -> float:
    """max |a - b| / max |b|, or over a given scale; 0 if the two are the same."""
    a = np.asarray(a, np.float64)
    b = np.asarray(b)
    assert a.shape == b.shape
    largest = np.abs(b).max() if scale is None else scale
    return float(np.abs(a - b).max() / largest) if np.any(a != b) else 0.0


def weights(shapes: dict, random: np.random.Generator, last: bool = False) -> dict:
    """Kernels as large as PyTorch's first ones, and biases as the head of file says."""
    tree = {}
    for name, value in sorted(shapes.items()):
        if isinstance(value, dict):
            after = {"conv1": "conv2", "conv2": "conv3"}.get(name)
            ends = name.startswith(("conv", "shortcut")) and after not in shapes
            tree[name] = weights(value, random, ends)
            continue
        shape = value.shape
        if name == "kernel":
            drawn = random.uniform(-1, 1, shape) * np.prod(shape[:-1]) ** -0.5
        elif name in ("scale", "var"):
            drawn = random.uniform(0.5, 1.5, shape)
        elif name == "bias" and "scale" in shapes:
            drawn = 1.0 if last else 2.0 * random.choice([-1, 1], shape)
            drawn = drawn * random.uniform(0.8, 1.5, shape)
        else:
            drawn = random.normal(0, 0.3, shape)
        tree[name] = drawn.astype(np.float32)
    return tree


def _nothing(channels: int) -> Dataset:
    """No images, of a mean and deviation that leave pixels as they are."""
    images, labels = np.zeros((0, 32, 32, channels), np.uint8), np.zeros(0, np.int32)
    classes = tuple(map(str, range(CLASSES)))
    plain = (0.0,) * channels, (1.0,) * channels
    return Dataset("none", images, labels, images, labels, classes, *plain)


@cache
def make_pair(name: str, channels: int) -> Pair:
    config = Config()
    config.loss_prediction.weight, config.loss_prediction.margin = WEIGHT, MARGIN
    network = NETWORKS[name](classes=CLASSES, width=WIDTHS[name], axis_name=AXIS)
    module, key = LossPredictionModule(), jax.random.key(0)
    random = np.random.default_rng(channels)
    image = jnp.zeros((1, 32, 32, channels))
    variables = weights(jax.eval_shape(network.init, key, image), random)
    stages = jax.eval_shape(network.apply, variables, image).stages
    module_variables = weights(jax.eval_shape(module.init, key, stages), random)
    learner = Learner(
        blueprint=make_blueprint(config, _nothing(channels), with_module=True),
        network=network,
        module=module,
        optimizer=config.optimizers[config.optimizer].direction(),
    )
    torch = (name, channels, CLASSES, WIDTHS[name]), (variables, module_variables)
    return Pair(learner, variables, module_variables, torch)


def batch(rows: int, count: int, channels: int, seed: int):
    """Images, labels and mask of rows, `count` of them real."""
    random = np.random.default_rng((seed, count))
    images = random.normal(0, 1, (rows, 32, 32, channels))
    images *= random.uniform(0.3, 1.5, (rows, 1, 1, 1))  # contrast
    images += random.normal(0, 1, (rows, 1, 1, channels))  # colour
    images[count:] *= 50
    images = images.astype(np.float32)
    labels = random.integers(0, CLASSES, rows).astype(np.int32)
    mask = (np.arange(rows) < count).astype(np.float32)
    return images, labels, mask
