"""What a machine reaches at most: one large matrix product, and a copy in memory.

    python benchmarks/ceilings.py --by=jax --precision=float32

Measures once in this process and prints one line of JSON. Neither library's product is
always the faster one, so the ceiling of a machine is the better of both. On NVIDIA GPUs
a float32 product is of TF32, as in all other benchmarks of both libraries.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

REPEATS = 15
# By platform: rows of a square matrix, float32 numbers of a copy, and calls that are
# timed together where the host does not wait for each.
SIZES = {"cpu": (2048, 1 << 26, 1), "gpu": (8192, 1 << 28, 10)}


def seconds_of(call: Callable[[], object], wait: Callable, calls: int) -> float:
    """Seconds of one call: the median of some repetitions, after one that compiles."""
    wait(call())
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        for _ in range(calls):
            last = call()
        wait(last)
        seconds.append((time.perf_counter() - start) / calls)
    return statistics.median(seconds)


def rates(multiply, copy, wait, sizes: tuple[int, int, int]) -> dict[str, float]:
    """Operations a second of a product, bytes a second that a copy reads and writes."""
    size, numbers, calls = sizes
    return {
        "flops": 2 * size**3 / seconds_of(multiply, wait, calls),
        "copy_bytes_per_second": 2 * 4 * numbers / seconds_of(copy, wait, calls),
    }


def by_jax(precision: str) -> dict:
    """Measures by XLA; also tells what machine this is."""
    import jax
    import jax.numpy as jnp

    from aljax.machine import clock
    from aljax.runs.provenance import provenance

    platform = jax.default_backend()
    sizes = SIZES.get(platform, SIZES["gpu"])
    a, x = jnp.ones((sizes[0],) * 2, precision), jnp.ones(sizes[1])
    multiply, copy = jax.jit(jnp.matmul), jax.jit(lambda x: x + 1)
    found = rates(lambda: multiply(a, a), lambda: copy(x), jax.block_until_ready, sizes)
    about = {"platform": platform, "devices": len(jax.devices())}
    return provenance() | about | {"memory_bytes": clock.memory_bytes()} | found


def by_torch(precision: str, device: str, threads: int | None) -> dict:
    """Measures by PyTorch."""
    import torch

    if threads:
        torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = True
    cuda = device.startswith("cuda")
    sizes = SIZES["gpu" if cuda else "cpu"]
    a = torch.ones((sizes[0],) * 2, dtype=getattr(torch, precision), device=device)
    x = torch.ones(sizes[1], device=device)

    def wait(_) -> None:
        if cuda:
            torch.cuda.synchronize()

    with torch.inference_mode():
        found = rates(lambda: a @ a, lambda: x + 1, wait, sizes)
    return {"versions": {"torch": torch.__version__}} | found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--by", choices=("jax", "torch"), default="jax")
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16"), default="float32"
    )
    parser.add_argument("--torch_device", default="cpu")
    parser.add_argument("--threads", type=int, help="of PyTorch; default: its own")
    flags = parser.parse_args()
    if flags.by == "jax":
        found = by_jax(flags.precision)
    else:
        found = by_torch(flags.precision, flags.torch_device, flags.threads)
    print(json.dumps(found))


if __name__ == "__main__":
    from aljax.machine import allocator

    allocator.prepare()
    main()
