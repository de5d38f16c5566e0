"""The benchmark's PyTorch side computes what the parity tests' reference computes."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the baseline is PyTorch")
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import torch_baseline as baseline  # noqa: E402
import torch_network as network  # noqa: E402

from tests.support import torch_reference as reference  # noqa: E402

torch.set_num_threads(1)

SMALL = baseline.Settings(width=8, batch_size=8, score_batch_size=16, epochs=1)


@pytest.fixture(autouse=True)
def without_onednn():
    """Small networks by PyTorch's own convolutions.

    With float32, channels_last and few channels oneDNN's weight gradient corrupts the
    heap (PyTorch 2.13 with oneDNN 3.12, CPU), the reference network's too.
    """
    torch.backends.mkldnn.enabled = False
    yield
    torch.backends.mkldnn.enabled = True


def pair(model: str):
    """The reference's two networks and the baseline's one, with the same weights."""
    torch.manual_seed(0)
    theirs = reference.ResNet(model, 3, 10, 4), reference.LossNet(model, 4)
    ours = network.Network(model, 4, 3, 10)
    for a, b in zip(theirs, (ours.backbone, ours.module), strict=True):
        state = zip(a.state_dict().values(), b.state_dict(), strict=True)
        b.load_state_dict({name: value for value, name in state})
    return [net.double() for net in theirs], ours.double()


def batch(count: int):
    return torch.randn(count, 3, 32, 32).double(), torch.randint(10, (count,))


@pytest.mark.parametrize("count", [6, 5, 1])
@pytest.mark.parametrize("model", ["resnet18", "resnet50"])
def test_joint_loss_and_gradients(model, count):
    theirs, ours = pair(model)
    images, labels = batch(count)
    for detach in (False, True):
        expected = reference.joint_loss(*theirs, images, labels, detach)
        logits, predicted, embedding = ours(images, detach)
        torch.testing.assert_close(logits, expected["logits"])
        torch.testing.assert_close(predicted, expected["predicted"])
        torch.testing.assert_close(embedding, expected["embedding"])
        loss = network.joint_loss(logits, predicted, labels)
        torch.testing.assert_close(loss, expected["joint"])
        expected["joint"].backward()
        loss.backward()
    parameters = [p for net in theirs for p in net.parameters()]
    for a, b in zip(parameters, ours.parameters(), strict=True):
        wanted = torch.zeros_like(a) if a.grad is None else a.grad
        got = torch.zeros_like(b) if b.grad is None else b.grad
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("name", baseline.OPTIMIZERS)
def test_one_step(name):
    theirs, ours = pair("resnet18")
    pixels = np.zeros((2, 32, 32, 3), np.uint8)
    learner = baseline.Learner(replace(SMALL, optimizer=name), pixels, 10)
    learner.network = learner.forward = ours
    make = baseline.OPTIMIZERS[name]
    learner.optimizers = [make(p.parameters()) for p in (ours.backbone, ours.module)]
    images, labels = batch(6)
    optimizers = [reference.optimizer(name, net.parameters()) for net in theirs]
    result = reference.joint_loss(*theirs, images, labels)
    result["joint"].backward()
    for optimizer in optimizers:
        optimizer.step()
    loss = learner.step(images, labels, detach=False)
    torch.testing.assert_close(loss, result["joint"].detach())
    expected = [value for net in theirs for value in net.state_dict().values()]
    for a, b in zip(expected, ours.state_dict().values(), strict=True):
        distance = (a - b).double().norm() / a.double().norm()
        assert distance < 1e-9


def test_crop_and_flip_moves_and_mirrors():
    torch.manual_seed(0)
    image = torch.arange(1, 1 + 8 * 8 * 3, dtype=torch.uint8).reshape(8, 8, 3)
    padded = torch.zeros(12, 12, 3, dtype=torch.uint8)
    padded[2:10, 2:10] = image
    windows = {}
    for top in range(5):
        for left in range(5):
            window = padded[top : top + 8, left : left + 8]
            windows[window.numpy().tobytes()] = top, left, False
            windows[window.flip(1).numpy().tobytes()] = top, left, True
    cropped = baseline.crop_and_flip(image.expand(500, 8, 8, 3), 2)
    found = {windows[window.numpy().tobytes()] for window in cropped}
    assert len(found) == 50


@pytest.mark.parametrize("side", ["tuned", "authors"])
@pytest.mark.parametrize("strategy", ["learning_loss", "entropy"])
def test_experiment(side, strategy):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (60, 32, 32, 3), np.uint8)
    labels = random.integers(0, 2, 60)
    settings = replace(SMALL, side=side, strategy=strategy, initial=20, budget=9)
    result = baseline.run_experiment(
        images[:50], labels[:50], images[50:], labels[50:], settings
    )
    assert result["labelled"] == [20, 29, 38]
    assert len(result["accuracy"]) == 3
    assert all(0 <= share <= 1 for share in result["accuracy"])
    assert result["seconds"] > 0


def test_both_manners_score_the_same():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (21, 32, 32, 3), np.uint8)
    scores = []
    for side in ("tuned", "authors"):
        torch.manual_seed(0)
        learner = baseline.Learner(replace(SMALL, side=side), images, 10)
        scores.append(learner.score(*learner.place(images, np.zeros(21))))
    for a, b in zip(*scores, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_two_passes_warm_up(monkeypatch):
    clock = iter([0, 90, 90, 93, 93, 94, 94, 96, 96, 99])
    monkeypatch.setattr(baseline.Learner, "score", lambda *data: None)
    monkeypatch.setattr(baseline.time, "perf_counter", lambda: next(clock))
    found = baseline.measure(SMALL, "score", images=12, rounds=3)
    assert found["warmup_seconds"] == 93
    assert found["seconds_per_round"] == [1, 2, 3] and found["images_per_second"] == 6


def test_training_lowers_the_loss():
    torch.manual_seed(0)
    # Eight images at SGD's rate of 0.1 go up and down, differently on each processor.
    settings = replace(SMALL, optimizer="adam")
    learner = baseline.Learner(settings, np.zeros((2, 32, 32, 3), np.uint8), 10)
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8)
    losses = [float(learner.step(images, labels, False)) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]
