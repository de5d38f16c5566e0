"""Where the time of scoring goes: every layer of a network alone, against PyTorch.

    python benchmarks/layers.py --model=resnet50 --json=layers.json

A layer here is what lies between two convolutions and the second of them: normalise by
running statistics, add the shortcut at a block's end, ReLU, convolve. Both sides do
that on the same shapes, channels last, each in a process of its own; rounds take them
in turn. What is left of a pass, pooling and the heads, is not timed.
"""

import argparse
import json
import os
import statistics
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from end_to_end import cores
from overhead import seconds
from process import TORCH_ENVIRONMENT, call
from throughput import MODELS, positive

from aljax.machine import allocator

# aljax sets what it wants itself.
ENVIRONMENT = {"aljax": {}, "torch": TORCH_ENVIRONMENT}
SIDES = tuple(ENVIRONMENT)


class Layer(NamedTuple):
    """The shape of a layer's work."""

    batch: int
    side: int  # of its input
    inputs: int
    outputs: int
    size: int  # of its kernel
    stride: int
    before: str  # what its input waits for: nothing, norm, or norm+shortcut
    keep: bool  # whether a shortcut reads that input too

    def multiplications(self) -> int:
        """Those of the direct algorithm."""
        out = -(-self.side // self.stride)
        return self.batch * out**2 * self.size**2 * self.inputs * self.outputs


def layers(model: str, width: int, batch: int) -> Counter[Layer]:
    """The layers of a network that scores, and how many it has of each."""
    import jax
    import jax.numpy as jnp

    from aljax.models import MODELS, resnet

    found: Counter[Layer] = Counter()
    regular = resnet.layer

    def note(x, kernel, mask, stride=1, keep=False):
        pending = isinstance(x, resnet.Pending)
        before = "norm" if pending else "nothing"
        if pending and x.rest is not None:
            before += "+shortcut"
        _, side, _, inputs = (x.y if pending else x).shape
        size, outputs = kernel.shape[0], kernel.shape[-1]
        found[Layer(batch, side, inputs, outputs, size, stride, before, keep)] += 1
        return regular(x, kernel, mask, stride, keep)

    resnet.layer = note
    try:
        network = MODELS[model](classes=10, width=width)
        images = jnp.zeros((batch, 32, 32, 3))
        jax.eval_shape(lambda: network.init(jax.random.key(0), images))
    finally:
        resnet.layer = regular
    return found


def time_calls(run, calls: int) -> float:
    """Median seconds of a call, after one that is not counted.

    The first few calls of large arrays may take fresh memory, a second for a gigabyte.
    """
    run()
    return statistics.median(seconds(run) for _ in range(calls))


def aljax_layer(layer: Layer, precision: str, calls: int) -> float:
    """Seconds that aljax takes for a layer of images of a precision."""
    import jax
    import jax.numpy as jnp

    from aljax.machine import devices as machine
    from aljax.models.conv import fused as module
    from aljax.models.norm import Affine

    shape = (layer.batch, layer.side, layer.side, layer.inputs)
    x, norm = jnp.ones(shape, precision), Affine(*jnp.ones((3, layer.inputs)))
    rest = jnp.ones(shape, precision) if "shortcut" in layer.before else None
    given = x if layer.before == "nothing" else module.Pending(x, norm, rest)
    kernel = jnp.ones((layer.size, layer.size, layer.inputs, layer.outputs))
    run = machine.spmd(
        lambda given, kernel: module.layer(
            given, kernel, None, layer.stride, layer.keep
        ),
        machine.choose_devices(1),
        (machine.EVERYWHERE,) * 2,
        machine.EVERYWHERE,
    )
    return time_calls(lambda: jax.block_until_ready(run(given, kernel)), calls)


def torch_layer(layer: Layer, precision: str, calls: int) -> float:
    """Seconds that PyTorch takes for a layer, its kernel of the same precision."""
    import torch
    import torch.nn.functional as F

    where = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = getattr(torch, precision)
    shape = (layer.batch, layer.inputs, layer.side, layer.side)
    kernel = torch.ones(layer.outputs, layer.inputs, layer.size, layer.size)
    rest = torch.ones(shape) if "shortcut" in layer.before else None
    given = [torch.ones(shape), kernel, rest]
    x, kernel, rest = (
        t if t is None else t.to(where, dtype, memory_format=torch.channels_last)
        for t in given
    )
    statistic = torch.ones(layer.inputs, device=where)

    @torch.inference_mode()
    def run():
        y = x
        if layer.before != "nothing":
            y = F.batch_norm(x, *[statistic] * 4)
            y = F.relu(y if rest is None else y.add_(rest), inplace=True)
        F.conv2d(y, kernel, stride=layer.stride, padding=layer.size // 2)
        if where == "cuda":
            torch.cuda.synchronize()

    return time_calls(run, calls)


def measure_side(flags: argparse.Namespace) -> dict:
    """Times every layer on one side, in this process."""
    found = [Layer(*fields) for fields in json.loads(flags.layers)]
    how = flags.precision, flags.calls
    if flags.side == "torch":
        import torch

        torch.set_num_threads(cores())
        return {"seconds": [torch_layer(layer, *how) for layer in found]}
    from aljax.machine import devices as machine
    from aljax.runs.provenance import provenance

    machine.use_compile_cache(flags.compile_cache_dir)
    times = [aljax_layer(layer, *how) for layer in found]
    return {"seconds": times, "about": provenance()}


def show(report: dict) -> None:
    """Prints the table, what takes longest first."""
    total = {side: sum(r["seconds"][side] for r in report["rows"]) for side in SIDES}
    print(
        "kernel    channels     side  waits for      count  share  aljax/torch  GFLOP/s"
    )
    for r in sorted(report["rows"], key=lambda r: -r["seconds"]["aljax"]):
        ours, theirs = (r["seconds"][side] for side in SIDES)
        flops = 2 * r["multiplications"] * r["count"] / 1e9
        channels = f"{r['inputs']}→{r['outputs']}"
        print(
            f"{r['size']}x{r['size']}/{r['stride']}  {channels:11} {r['side']:4}  "
            f"{r['before']:14} {r['count']:5} {ours / total['aljax']:6.1%} "
            f"{ours / theirs:9.2f} {flops / ours:10.0f} {flops / theirs:5.0f}"
        )
    print(f"all: aljax {total['aljax']:.2f} s, PyTorch {total['torch']:.2f} s")


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=MODELS, default="resnet50")
    counts = {"width": 64, "batch_size": 512, "calls": 7, "rounds": 3}
    for name, default in counts.items():
        parser.add_argument(f"--{name}", type=positive, default=default)
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16"), default="float32"
    )
    parser.add_argument("--compile_cache_dir", default="~/.cache/aljax/programs")
    parser.add_argument("--json", type=Path, default=Path("layers.json"))
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--layers", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    flags = parse()
    if flags.side:
        if flags.side == "aljax":
            allocator.prepare()
        print(json.dumps(measure_side(flags)))
        return
    found = layers(flags.model, flags.width, flags.batch_size)
    line = [sys.executable, __file__, f"--layers={json.dumps(list(found))}"]
    line += [f"--precision={flags.precision}", f"--calls={flags.calls}"]
    line += [f"--compile_cache_dir={flags.compile_cache_dir}"]
    rounds = []
    for number in range(flags.rounds):
        print(f"round {number + 1}/{flags.rounds}", file=sys.stderr)
        rounds.append(
            {
                s: call([*line, f"--side={s}"], os.environ | ENVIRONMENT[s])
                for s in SIDES
            }
        )
    rows = []
    for i, (layer, count) in enumerate(found.items()):
        times = {
            side: [count * r[side]["seconds"][i] for r in rounds] for side in SIDES
        }
        rows.append(
            layer._asdict()
            | {"count": count, "multiplications": layer.multiplications()}
            | {"seconds": {s: statistics.median(t) for s, t in times.items()}}
            | {"seconds_rounds": times}
        )
    about = rounds[-1]["aljax"]["about"]
    settings = vars(flags) | {"json": flags.json.name}
    report = about | {"settings": settings, "rows": rows}
    flags.json.write_text(json.dumps(report, indent=2) + "\n")
    show(report)


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(str(error))
