"""One measurement of aljax in a process of its own; prints one line of JSON.

    python benchmarks/aljax_side.py --model=resnet18 --phase=train

The counterpart of `torch_baseline.py`: same recipe, same images, same rounds.
"""

import argparse
import json
import statistics
import time

START = time.perf_counter()


def measure(flags: argparse.Namespace) -> dict:
    """Times `rounds` passes over random images, after one that compiles."""
    import jax
    import numpy as np

    from aljax import parallel, timing
    from aljax.config import Config
    from aljax.data import Dataset
    from aljax.inference import make_predict, predict_all
    from aljax.learner import init, make_learner
    from aljax.training import Labels, make_train, steps_per_epoch

    clock = timing.CompileClock()
    parallel.use_compile_cache(flags.compile_cache_dir)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (flags.images, 32, 32, 3), np.uint8)
    labels = random.integers(0, 10, flags.images).astype(np.int32)
    dataset = Dataset(
        *("random", images, labels, images[:1], labels[:1]),
        classes=tuple("0123456789"),
        mean=tuple(images.mean((0, 1, 2)) / 255),
        std=tuple(images.std((0, 1, 2)) / 255),
    )
    config = Config(
        model=flags.model,
        width=flags.width,
        optimizer=flags.optimizer,
        batch_size=flags.batch_size,
        precision=flags.precision,
    )
    devices = parallel.choose_devices(1)
    learner = make_learner(config, dataset, with_module=True)
    state = parallel.replicate(
        jax.jit(lambda key: init(learner, key))(jax.random.key(0)), devices
    )
    pool, known, key = parallel.replicate((images, labels, jax.random.key(1)), devices)
    everything = Labels(np.arange(flags.images, dtype=np.int32), np.int32(flags.images))
    everything = parallel.replicate(everything, devices)
    program = {"train": make_train, "score": make_predict}[flags.phase](
        learner, devices
    )

    def train(state, round_number):
        steps = steps_per_epoch(flags.images, flags.batch_size)
        last = parallel.replicate(np.int32((round_number + 1) * steps), devices)
        state, report = program(state, pool, known, everything, key, last)
        return state, jax.device_get(report)

    def score(state, round_number):
        needs = frozenset({"logits", "predicted_loss", "embedding"})
        indices = np.arange(flags.images)
        return state, predict_all(
            program, state, pool, indices, flags.score_batch_size, needs
        )

    run, seconds, ready = {"train": train, "score": score}[flags.phase], [], None
    for number in range(flags.rounds + 1):
        start = time.perf_counter()
        state, _ = run(state, number)
        seconds.append(time.perf_counter() - start)
        ready = ready or time.perf_counter() - START
    training = flags.phase == "train"
    return {
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
        "compile_seconds": clock.seconds,
        "programs": clock.programs,
        "peak_bytes": timing.peak_device_bytes() or timing.peak_host_bytes(),
        "threads": parallel.cores(),
        "settings": {"images": flags.images, "optimizer": flags.optimizer},
    }


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
    parser.add_argument("--compile_cache_dir", default="~/.cache/aljax/programs")
    print(json.dumps(measure(parser.parse_args())))


if __name__ == "__main__":
    from aljax import environment

    environment.prepare()
    main()
