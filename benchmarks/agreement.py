"""How near aljax comes to PyTorch at full width, beside PyTorch's own rounding.

    python -m benchmarks.agreement --images=cifar10.zip --json=agreement.json

One batch of real images in training mode, fresh weights, the joint loss. aljax and
PyTorch, both in float32, are held against PyTorch in float64 with the same weights. An
error is the largest of a tensor as a share of its largest value; `terms` are gradients
as a share of the absolute values of what they sum (`tests/support/contributions.py`).
Rounding carries a few inputs of ReLUs across zero, where gradients jump, on both sides.
"""

import argparse
import statistics
from importlib import metadata
from pathlib import Path

import jax
import numpy as np

from aljax import augment
from aljax.config import Config, LossPrediction
from aljax.data import Data, Dataset, load
from aljax.learner import init, make_blueprint, make_learner
from aljax.machine.devices import EVERYWHERE, choose_devices, spmd
from aljax.runs.folder import write_json
from aljax.runs.provenance import provenance
from aljax.training import joint_loss
from tests.support.trees import flatten

SIDES = ("aljax", "torch_float32")
NUMBERS = ("logits", "loss", "gradient", "gradient_median", "terms", "terms_median")


def error(ours, exact: np.ndarray, scale: np.ndarray | None = None) -> float:
    """max |ours - exact| / max |scale|, which is `exact` by default; 0 of nothing."""
    largest = np.abs(exact if scale is None else scale).max()
    return float(np.abs(np.float64(ours) - exact).max() / largest) if largest else 0.0


def errors(ours: dict, exact: dict) -> dict[str, float]:
    """The errors of one side: NUMBERS of an answer and of the exact one.

    Both hold logits, the joint loss and gradients `{path: array}`; the exact one also
    the sums of the terms of each gradient. Gradients that are nothing but rounding,
    less than a millionth of their terms, have no share of their largest value.
    """
    shares, terms = [], []
    for path, gradient in exact["gradients"].items():
        scale = exact["terms"][path]
        terms.append(error(ours["gradients"][path], gradient, scale))
        if np.abs(gradient).max() > 1e-6 * scale.max():
            shares.append(error(ours["gradients"][path], gradient))
    return {
        "logits": error(ours["logits"], exact["logits"]),
        "loss": error(ours["joint"], exact["joint"]),
        "gradient": max(shares),
        "gradient_median": statistics.median(shares),
        "terms": max(terms),
        "terms_median": statistics.median(terms),
    }


def make_side(config: Config, dataset):
    """Fresh weights by a seed, and aljax's answer to a batch as PyTorch gives it."""
    learner = make_learner(make_blueprint(config, dataset, with_module=True))

    def run(trained, *rest):
        def share(trained):
            return joint_loss(learner, trained, *rest)

        return jax.value_and_grad(share, has_aux=True)(trained)

    program = spmd(run, choose_devices(1), (EVERYWHERE,) * 7, EVERYWHERE)
    start = jax.jit(lambda key: init(learner, key))

    def answer(state, images, labels):
        count = np.int32(len(labels))
        mask = np.ones(count, np.float32)
        batch = images, np.int32(labels), mask, count, np.bool_(False)
        trained = state.params, state.loss_params
        (joint, aux), grads = program(trained, state.batch_stats, *batch)
        return {
            "logits": np.asarray(aux[2]),
            "joint": np.asarray(joint),
            "gradients": joined([flatten({"params": grad}) for grad in grads]),
        }

    return lambda seed: jax.device_get(start(jax.random.key(seed))), answer


def joined(trees: list[dict]) -> dict:
    """The tensors of network and module under paths of their own."""
    return {(i, *path): v for i, tree in enumerate(trees) for path, v in tree.items()}


def ask_torch(network: tuple, state, images, labels, precision: str) -> dict:
    """PyTorch's answer to the same batch with the same weights."""
    from tests.support.pytorch import ask

    variables = state.variables, {"params": state.loss_params}
    batch = images, labels, False, LossPrediction.weight, LossPrediction.margin
    answer = ask("train", network, variables, *batch, precision)
    kinds = {"gradients": "gradients", "terms": "contributions"}
    return answer | {name: joined(answer[kind]) for name, kind in kinds.items()}


def measure(
    model: str, width: int, dataset: Dataset, count: int, seeds: int
) -> list[dict]:
    """The errors of both sides for each seed: of weights, and of the images drawn."""
    first, answer = make_side(Config(model=model, width=width), dataset)
    channels, classes = dataset.train_images.shape[-1], len(dataset.classes)
    rounds = []
    for seed in range(seeds):
        random, pool = np.random.default_rng(seed), len(dataset.train_labels)
        chosen = random.choice(pool, count, replace=False)
        images, labels = dataset.train_images[chosen], dataset.train_labels[chosen]
        images = np.array(augment.normalise(images, dataset.mean, dataset.std))
        state = first(seed)
        exact, single = (
            ask_torch((model, channels, classes, width), state, images, labels, p)
            for p in ("float64", "float32")
        )
        answers = zip(SIDES, (answer(state, images, labels), single), strict=True)
        rounds.append({side: errors(ours, exact) for side, ours in answers})
    return rounds


def summary(rounds: list[dict]) -> dict:
    """Median and range over the seeds of every number of either side."""
    return {
        side: {
            number: {
                "median": statistics.median(values),
                "range": [min(values), max(values)],
            }
            for number in NUMBERS
            for values in [[one[side][number] for one in rounds]]
        }
        for side in SIDES
    }


def show(name: str, sides: dict) -> None:
    """Prints a line for each side: medians, and ranges in brackets."""
    for side, numbers in sides.items():
        shown = (
            f"{number} {n['median']:.1e} ({n['range'][0]:.1e}-{n['range'][1]:.1e})"
            for number, n in numbers.items()
        )
        print(f"{name} {side}: {', '.join(shown)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default="resnet18,resnet34,resnet50")
    parser.add_argument("--images", type=Path, help="a folder or zip, beside our own")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also writes all numbers there")
    args = parser.parse_args()
    content = provenance()
    content["versions"]["torch"] = metadata.version("torch")
    content |= {"width": args.width, "batch": args.batch, "n": args.seeds}
    sources = {"fashion_mnist_mini": Data(name="fashion_mnist_mini")}
    if args.images:
        sources[args.images.stem] = Data("image_folder", path=str(args.images))
    content["errors"] = {name: {} for name in sources}
    for name, source in sources.items():
        dataset = load(source)
        for model in args.models.split(","):
            rounds = measure(model, args.width, dataset, args.batch, args.seeds)
            content["errors"][name][model] = summary(rounds)
            show(f"{name} {model}", content["errors"][name][model])
    if args.json:
        write_json(args.json, content)


if __name__ == "__main__":
    main()
