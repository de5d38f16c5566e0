"""One measurement of aljax in a process of its own; prints one line of JSON.

    python benchmarks/aljax_side.py --model=resnet18 --phase=train

The counterpart of `torch_baseline.py`: same recipe, same images, same rounds.
"""

import argparse
import json
import math
import os
import re
import statistics
import time

START = time.perf_counter()


COLLECTIVE = re.compile(
    r"= (.*?) (?:all-reduce|all-gather|reduce-scatter|collective-permute)(?:-start)?\("
)
ARRAY = re.compile(r"\b([a-z]+)(\d+)\[([\d,]*)\]")


def collectives(program: str) -> tuple[int, int]:
    """Collective operations of a compiled program, and the bytes of their results.

    The loop over steps contains each of them once, so these are counts per step.
    """
    results = COLLECTIVE.findall(program)
    size = 0
    for _, bits, shape in ARRAY.findall(" ".join(results)):
        size += int(bits) // 8 * math.prod(int(n) for n in shape.split(",") if n)
    return len(results), size


def random_dataset(count: int):
    """Images of noise, 32x32x3, of ten classes."""
    import numpy as np

    from aljax.data import Dataset

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, 32, 32, 3), np.uint8)
    labels = random.integers(0, 10, count).astype(np.int32)
    return Dataset(
        "random",
        images,
        labels,
        images[:1],
        labels[:1],
        classes=tuple("0123456789"),
        mean=tuple(images.mean((0, 1, 2)) / 255),
        std=tuple(images.std((0, 1, 2)) / 255),
    )


class Measured:
    """One compiled program and everything that it works on."""

    def __init__(self, flags: argparse.Namespace):
        import jax
        import numpy as np

        from aljax import inference, learner, training
        from aljax.config import Config
        from aljax.machine import devices as machine

        names = "model width optimizer batch_size score_batch_size precision".split()
        config = Config(**{name: getattr(flags, name) for name in names})
        dataset = random_dataset(flags.images)
        self.flags = flags
        self.devices = machine.choose_devices(flags.devices)
        machine.connect(self.devices)
        made = learner.make_learner(learner.make_blueprint(config, dataset, True))
        start = jax.jit(lambda key: learner.init(made, key))(jax.random.key(0))
        everything = training.LabelledSet(
            np.arange(flags.images, dtype=np.int32), np.int32(flags.images)
        )
        data = dataset.train_images, dataset.train_labels, everything
        placed = (start, *data, jax.random.key(1))
        self.state, *self.data = machine.replicate(placed, self.devices)
        make = {"train": training.make_train, "score": inference.make_predict}
        self.program = make[flags.phase](made, self.devices)

    def _last_step(self, number: int):
        import numpy as np

        from aljax import training
        from aljax.machine import devices as machine

        steps = training.steps_per_epoch(self.flags.images, self.flags.batch_size)
        return machine.replicate(np.int32((number + 1) * steps), self.devices)

    def round(self, number: int) -> None:
        """Trains on or scores every image once, and waits for it."""
        import jax
        import numpy as np

        from aljax.inference import predict_all

        if self.flags.phase == "train":
            last = self._last_step(number)
            self.state, report = self.program(self.state, *self.data, last)
            jax.device_get(report)
            return
        predict_all(
            self.program,
            self.state,
            self.data[0],
            np.arange(self.flags.images),
            self.flags.score_batch_size,
            needs=frozenset({"logits", "predicted_loss", "embedding"}),
            ahead=self.devices.ahead,
        )

    def compiled(self) -> str:
        """The text of the compiled program."""
        import numpy as np

        if self.flags.phase == "train":
            arguments = (self.state, *self.data, self._last_step(0))
        else:
            indices = np.zeros(self.flags.score_batch_size, np.int32)
            state = self.state
            arguments = state.variables, state.loss_params, self.data[0], indices
        return self.program.lower(*arguments).compile().as_text()


def multiplications(params: dict, image_size: int = 32) -> int:
    """Those that the direct algorithm needs for one image of a network.

    A stage's maps are as large as its output, but for the first 1x1 convolution of a
    bottleneck, which comes before the stride.
    """
    import jax

    count = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        layer, name, kind = path[0].key, path[1].key, path[-1].key
        if kind != "kernel" or leaf.ndim != 4:
            continue
        stage = int(layer[len("stage")]) if layer.startswith("stage") else 1
        side = image_size >> (stage - 1)
        before = name == "conv1" and leaf.shape[0] == 1 and layer.endswith("block1")
        side *= 2 if before and stage > 1 else 1
        count += side * side * leaf.size
    return count


def measure(flags: argparse.Namespace) -> dict:
    """Times `rounds` passes over random images, after one that compiles."""
    import jax

    from aljax.machine import allocator, clock, processes
    from aljax.machine import devices as machine
    from aljax.runs.provenance import provenance

    compiling = clock.CompileClock()
    processes.join(flags.coordinator, flags.processes, flags.process)
    allocator.trim_after_compiling()
    machine.use_compile_cache(flags.compile_cache_dir)
    measured, seconds, ready = Measured(flags), [], None
    for number in range(flags.rounds + 1):
        start = time.perf_counter()
        measured.round(number)
        seconds.append(time.perf_counter() - start)
        ready = ready or time.perf_counter() - START
    training = flags.phase == "train"
    row = {
        "side": "aljax",
        "model": flags.model,
        "width": flags.width,
        "phase": flags.phase,
        "batch_size": flags.batch_size if training else flags.score_batch_size,
        "precision": flags.precision,
        "images_per_second": flags.images / statistics.median(seconds[1:]),
        "seconds_per_round": seconds[1:],
        "warmup_seconds": seconds[0],
        "ready_seconds": ready,
        "compile_seconds": compiling.seconds,
        "programs": compiling.programs,
        "peak_bytes": clock.peak_device_bytes() or clock.peak_host_bytes(),
        "threads": machine.cores(),
        "devices": flags.devices,
        "first": processes.first(),
        "platform": jax.default_backend(),
        "multiplications": multiplications(measured.state.params),
        "environment": {
            name: os.environ.get(name, "") for name in ("XLA_FLAGS", "GLIBC_TUNABLES")
        },
        "settings": {"images": flags.images, "optimizer": flags.optimizer},
    }
    if flags.devices > 1:
        row["collectives"], row["collective_bytes"] = collectives(measured.compiled())
    return provenance(measured.devices) | row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--optimizer", default="sgd")
    parser.add_argument("--phase", choices=("train", "score"), default="train")
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--score_batch_size", type=int, default=512)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--images", type=int, default=512, help="in one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--coordinator", help="HOST:PORT, of several processes")
    parser.add_argument("--processes", type=int)
    parser.add_argument("--process", type=int)
    parser.add_argument("--compile_cache_dir", default="~/.cache/aljax/programs")
    flags = parser.parse_args()
    found = measure(flags)
    if found.pop("first", True):
        print(json.dumps(found))


if __name__ == "__main__":
    from aljax.machine import allocator

    allocator.prepare()
    main()
