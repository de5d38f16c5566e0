"""What the tests share: a small dataset, a small learner, weights for one, an end."""

from functools import partial

import jax
import numpy as np
import pytest

from aljax.config import Augmentation, Config, LossPrediction, Schedule
from aljax.data import Dataset, channel_statistics
from aljax.learner import Learner, TrainState, init, make_blueprint
from aljax.machine.devices import AXIS
from aljax.models.loss_prediction import LossPredictionModule
from aljax.models.resnet import BasicBlock, ResNet
from aljax.optimizers import Sgd
from tests.support import together

CLASSES = ("top", "middle", "bottom")


def _images(random, count):
    """Noise with one bright third, which mirroring and small crops leave in place."""
    labels = random.integers(0, len(CLASSES), count).astype(np.int32)
    images = random.integers(0, 100, (count, 32, 32, 1), dtype=np.uint8)
    third = np.minimum(np.arange(32) // 11, 2)
    return images + 120 * (third == labels[:, None]).astype(np.uint8)[
        :, :, None, None
    ], labels


@pytest.fixture(autouse=True)
def none_left_running():
    """What `together.start` has started does not run beside the next test."""
    yield
    together.kill_all()


@pytest.fixture
def full_float32():
    """Products of float32 are products of float32; GPUs would take TF32."""
    with jax.default_matmul_precision("highest"):
        yield


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """A folder of compiled programs, which the commands of all tests share."""
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(scope="session")
def tiny_dataset() -> Dataset:
    """240 pool images and 70 test images, 32x32x1, of three learnable classes."""
    random = np.random.default_rng(0)
    train_images, train_labels = _images(random, 240)
    test_images, test_labels = _images(random, 70)
    return Dataset(
        "tiny",
        train_images,
        train_labels,
        test_images,
        test_labels,
        CLASSES,
        *channel_statistics(train_images),
    )


@pytest.fixture(scope="session")
def tiny_learner(tiny_dataset) -> Learner:
    """Two blocks; detaches after epoch 20, and stops learning after epoch 30."""
    config = Config(
        width=8,
        batch_size=8,
        augmentation=Augmentation(crop_padding=2),
        schedule=Schedule(milestones=(30,), factor=0.0),
        loss_prediction=LossPrediction(detach_epoch=20),
    )
    config.optimizers["sgd"] = Sgd(learning_rate=0.02)
    return Learner(
        make_blueprint(config, tiny_dataset, with_module=True),
        ResNet(BasicBlock, (1, 1), len(CLASSES), width=8, axis_name=AXIS),
        LossPredictionModule(features=16),
        config.optimizers["sgd"].direction(),
    )


def _draw(random, path, leaf):
    name, shape = path[-1].key, leaf.shape
    if name == "kernel":
        drawn = random.uniform(-1, 1, shape) * np.prod(shape[:-1]) ** -0.5
    elif name in ("scale", "var"):
        drawn = random.uniform(0.5, 1.5, shape)
    else:
        drawn = random.normal(0, 0.1, shape)
    return drawn.astype(np.float32)


@pytest.fixture(scope="session")
def draw_state():
    """(learner, seed) -> TrainState of random host arrays; nothing is compiled."""

    def draw(learner: Learner, seed: int = 0) -> TrainState:
        random = np.random.default_rng(seed)
        shapes = jax.eval_shape(partial(init, learner), jax.random.key(0))
        weights = [shapes.params, shapes.batch_stats, shapes.loss_params]
        params, batch_stats, loss_params = jax.tree_util.tree_map_with_path(
            partial(_draw, random), weights
        )
        state = TrainState(
            np.int32(0),
            params,
            batch_stats,
            learner.optimizer.init(params),
            loss_params,
            learner.optimizer.init(loss_params),
        )
        return jax.device_get(state)

    return draw
