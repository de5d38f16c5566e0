"""The whole recipe in PyTorch: what aljax's speed is measured against.

Two manners. `authors`: eager, NCHW, a DataLoader that augments image by image. `tuned`:
all images as one uint8 tensor on the device, batched augmentation, channels_last, huge
pages and glibc's settings of the aljax command, large scoring batches, fused
optimizers, mixed precision with bfloat16, `torch.compile` on request; on CUDA also
TF32, cudnn.benchmark and max-autotune.

    python benchmarks/torch_baseline.py --side=tuned --model=resnet18 --phase=train

measures once in this process and prints one line of JSON.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from functools import partial

import numpy as np
import torch
from process import TORCH_ENVIRONMENT, peak_resident_bytes
from torch.utils.data import DataLoader
from torch_network import (
    DEPTHS,
    OPTIMIZERS,
    Augmented,
    Network,
    crop_and_flip,
    joint_loss,
)

WARM = 2  # passes: the second call of a compiled network is slow, too


@dataclass(frozen=True)
class Settings:
    """What is measured; the names are those of aljax's configuration where it has them.

    Rates of the optimizers, ξ = 1 and λ = 1 are the report's.
    """

    side: str = "tuned"  # or "authors"
    model: str = "resnet18"
    width: int = 64
    optimizer: str = "sgd"
    batch_size: int = 128
    score_batch_size: int = 512
    precision: str = "float32"  # or "bfloat16"
    compile: bool = False
    device: str = "cpu"
    crop_padding: int = 4
    # The experiment.
    strategy: str = "learning_loss"  # or "entropy"
    epochs: int = 200
    cycles: int = 3
    initial: int = 1000
    budget: int = 1000
    pool_subset: int | None = 10_000
    milestone: int = 160  # epochs after which the learning rate falls tenfold
    detach_epoch: int = 120
    seed: int = 0

    @property
    def tuned(self) -> bool:
        return self.side == "tuned"


class Learner:
    """A network under one recipe: trains, scores and evaluates in either manner."""

    def __init__(self, settings: Settings, images: np.ndarray, classes: int):
        self.settings, self.device = settings, torch.device(settings.device)
        pixels = images.reshape(-1, images.shape[-1]) / np.float32(255)
        self.mean = torch.tensor(pixels.mean(0), device=self.device)
        self.std = torch.tensor(pixels.std(0), device=self.device)
        self.new = partial(
            Network, settings.model, settings.width, images.shape[-1], classes
        )
        layout = torch.channels_last if settings.tuned else torch.contiguous_format
        self.network = self.new().to(self.device, memory_format=layout)
        self.forward = self.network
        if settings.compile:
            mode = "max-autotune" if self.device.type == "cuda" else None
            self.forward = torch.compile(self.network, mode=mode)
        self.reset()

    def reset(self) -> None:
        """Fresh weights and optimizers; what was compiled stays."""
        s = self.settings
        self.network.load_state_dict(self.new().state_dict())
        # PyTorch has no fused RMSprop.
        fused = {"fused": True} if s.tuned and s.optimizer != "rmsprop" else {}
        make = partial(OPTIMIZERS[s.optimizer], **fused)
        parts = self.network.backbone, self.network.module
        self.optimizers = [make(part.parameters()) for part in parts]

    def place(self, images: np.ndarray, labels: np.ndarray):
        """Images and labels as tensors, on the device if tuned."""
        tensors = torch.from_numpy(images), torch.from_numpy(labels).long()
        home = self.device if self.settings.tuned else "cpu"
        return tuple(t.to(home) for t in tensors)

    def batches(self, images, labels, size: int, train: bool) -> Iterator[tuple]:
        """Normalised batches `[B, C, H, W]`, shuffled and augmented if training."""
        s = self.settings
        if not s.tuned:
            padding = s.crop_padding if train else None
            mean, std = self.mean.cpu(), self.std.cpu()
            dataset = Augmented(images, labels, mean, std, padding)
            for x, y in DataLoader(dataset, size, shuffle=train):
                yield x.to(self.device), y.to(self.device)
            return
        n = len(images)
        order = (torch.randperm if train else torch.arange)(n, device=self.device)
        for rows in order.split(size):
            x = images[rows]
            if train:
                x = crop_and_flip(x, s.crop_padding)
            # A permuted channels-last tensor: no copy is made.
            x = x.float().div_(255).sub_(self.mean).div_(self.std).permute(0, 3, 1, 2)
            yield x, labels[rows]

    def autocast(self):
        mixed = self.settings.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=mixed)

    def begin_step(self) -> None:
        """Lets CUDA graphs write over what the step before has returned."""
        if self.settings.compile and self.device.type == "cuda":
            torch.compiler.cudagraph_mark_step_begin()

    def step(self, x: torch.Tensor, y: torch.Tensor, detach: bool) -> torch.Tensor:
        """One update; returns the joint loss without waiting for it."""
        self.begin_step()
        with self.autocast():
            logits, predicted, _ = self.forward(x, detach)
            loss = joint_loss(logits, predicted, y)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        return loss.detach()

    def train(self, images, labels, epochs: int) -> None:
        """Runs the recipe; the learning rate falls tenfold after `milestone`."""
        s = self.settings
        self.network.train()
        for epoch in range(epochs):
            if epoch == s.milestone:
                for optimizer in self.optimizers:
                    optimizer.param_groups[0]["lr"] *= 0.1
            for x, y in self.batches(images, labels, s.batch_size, True):
                self.step(x, y, epoch >= s.detach_epoch)

    @torch.inference_mode()
    def score(self, images, labels) -> list[torch.Tensor]:
        """Logits, predicted losses and embeddings of all images, on the host."""
        self.network.eval()
        s = self.settings
        size, parts = s.score_batch_size if s.tuned else s.batch_size, []
        for x, _ in self.batches(images, labels, size, False):
            self.begin_step()
            with self.autocast():
                found = self.forward(x)
            # The next call of a CUDA graph writes over its results.
            parts.append([t.to(torch.float32, copy=s.compile) for t in found])
        return [torch.cat(p).cpu() for p in zip(*parts, strict=True)]


def prepare(settings: Settings) -> None:
    """Sets the switches of a manner that belong to the process."""
    torch.manual_seed(settings.seed)
    cuda = settings.tuned and settings.device.startswith("cuda")
    torch.backends.cudnn.benchmark = cuda
    torch.backends.cudnn.allow_tf32 = cuda or not settings.tuned  # PyTorch's default
    torch.backends.cuda.matmul.allow_tf32 = cuda


def run_experiment(images, labels, test_images, test_labels, settings: Settings):
    """A whole experiment from scratch: buy, train, evaluate, query.

    Args:
        images: uint8 `[N, H, W, C]`; labels: `[N]`; the same of the test set.
        settings: the recipe.

    Returns:
        {"seconds", "accuracy": one a cycle, "labelled": one a cycle}.
    """
    start, s = time.perf_counter(), settings
    prepare(s)
    learner = Learner(s, images, int(max(labels.max(), test_labels.max())) + 1)
    (x, y), test = (
        learner.place(images, labels),
        learner.place(test_images, test_labels),
    )
    random = np.random.default_rng(s.seed)
    chosen = random.permutation(len(images))[: s.initial]
    accuracy, labelled = [], []
    for cycle in range(s.cycles):
        learner.reset()
        bought = torch.from_numpy(chosen).to(x.device)
        learner.train(x[bought], y[bought], s.epochs)
        right = learner.score(*test)[0].argmax(1) == test[1].cpu()
        accuracy.append(right.float().mean().item())
        labelled.append(len(chosen))
        if cycle < s.cycles - 1:
            rest = random.permutation(np.setdiff1d(np.arange(len(images)), chosen))
            rest = rest[: s.pool_subset]
            pool = torch.from_numpy(rest).to(x.device)
            logits, predicted, _ = learner.score(x[pool], y[pool])
            if s.strategy == "entropy":
                predicted = torch.distributions.Categorical(logits=logits).entropy()
            best = predicted.argsort(descending=True)[: s.budget].numpy()
            chosen = np.concatenate([chosen, rest[best]])
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "accuracy": accuracy, "labelled": labelled}


def peak_bytes(device: str) -> int:
    """Peak device memory on CUDA, peak resident set of this process otherwise."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    return peak_resident_bytes()


def measure(settings: Settings, phase: str, images: int, rounds: int) -> dict:
    """Times `rounds` passes over random images, after those that warm up."""
    prepare(settings)
    random = np.random.default_rng(settings.seed)
    pixels = random.integers(0, 256, (images, 32, 32, 3), np.uint8)
    learner = Learner(settings, pixels, 10)
    data = learner.place(pixels, random.integers(0, 10, images))
    run = partial(learner.train, epochs=1) if phase == "train" else learner.score
    seconds, cuda = [], learner.device.type == "cuda"
    for _ in range(WARM + rounds):
        start = time.perf_counter()
        run(*data)
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    scoring = settings.score_batch_size if settings.tuned else settings.batch_size
    return {
        "side": f"torch_{settings.side}",
        "model": settings.model,
        "width": settings.width,
        "phase": phase,
        "batch_size": settings.batch_size if phase == "train" else scoring,
        "precision": settings.precision,
        "images_per_second": images / statistics.median(seconds[WARM:]),
        "seconds_per_round": seconds[WARM:],
        "warmup_seconds": sum(seconds[:WARM]),
        "peak_bytes": peak_bytes(settings.device),
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "device": torch.cuda.get_device_name() if cuda else platform.machine(),
        "platform": "gpu" if cuda else "cpu",
        "settings": asdict(settings) | {"images": images, "environment": environment()},
    }


def environment() -> dict[str, str | None]:
    """The variables that the tuned side sets, as this process has them."""
    return {name: os.environ.get(name) for name in TORCH_ENVIRONMENT}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--phase", choices=("train", "score"), default="train")
    parser.add_argument("--images", type=int, default=512, help="in one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="default: all cores")
    for field in fields(Settings):
        kind = {"compile": bool}.get(field.name, type(field.default))
        choices = {"side": ("tuned", "authors"), "model": tuple(DEPTHS)}.get(field.name)
        if kind is bool:
            parser.add_argument("--" + field.name, action="store_true")
        else:
            parser.add_argument(
                "--" + field.name, type=kind, default=field.default, choices=choices
            )
    flags = vars(parser.parse_args())
    settings = Settings(**{f.name: flags[f.name] for f in fields(Settings)})
    if settings.tuned and environment() != TORCH_ENVIRONMENT:
        # The allocator reads it once, when the process starts.
        again = os.environ | TORCH_ENVIRONMENT
        os.execve(sys.executable, [sys.executable, *sys.argv], again)
    torch.set_num_threads(flags["threads"] or os.cpu_count())
    row = measure(settings, flags["phase"], flags["images"], flags["rounds"])
    print(json.dumps(row))


if __name__ == "__main__":
    main()
