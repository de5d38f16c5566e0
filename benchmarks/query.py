"""Seconds and memory of choosing a batch, against those who would be used instead.

    python benchmarks/query.py --json=query.json

50,000 candidates of 512 dimensions and 10 classes, 10,000 labelled images, 1,000
bought: aljax, the papers' code re-stated in PyTorch, and scikit-activeml where it is
installed (`query_peers.py`). Each measurement is a process of its own; rounds take the
sides in turn, and a side that takes longer than `--once_above` seconds is measured
once. A side is stopped at `--limit` seconds: if it chooses image by image, what it
would have taken is told by the images it had chosen ("about"), else only that it took
longer ("over").

The embeddings are ReLUs of a mixture: a mean for each class, 64 directions in which the
images of all classes vary, and noise in every dimension. Seconds of aljax are those of
the second query of a process; the first, which may compile, is told beside it. Memory
is what the peak resident set grows by over that of the embeddings, logits and
libraries. All sides have the allocator's settings of the `aljax` command.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from process import call, peak_resident_bytes
from query_peers import PEERS, Pool
from throughput import positive

from aljax.machine.allocator import tunables

OURS = "aljax"
COUNTS = {
    "candidates": 50_000,
    "dimensions": 512,
    "classes": 10,
    "labelled": 10_000,
    "budget": 1000,
    "passes": 20,
}


class Stopped(Exception):
    """The limit is reached."""


def make_pool(flags: argparse.Namespace) -> Pool:
    """Draws what a network might say."""
    random = np.random.default_rng(0)
    means = random.normal(0, 1, (flags.classes, flags.dimensions))
    basis = random.normal(0, 1 / 8, (64, flags.dimensions))
    means, basis = means.astype(np.float32), basis.astype(np.float32)

    def draw(*shape):
        return random.standard_normal(shape, dtype=np.float32)

    def images(count):
        own = means[random.integers(0, flags.classes, count)]
        noise = 0.3 * draw(count, flags.dimensions)
        h = np.maximum(own + draw(count, 64) @ basis + noise, 0)
        return h, 0.02 * h @ means.T + draw(count, flags.classes)

    embedding, logits = images(flags.candidates)
    passes = logits[:, None] + draw(flags.candidates, flags.passes, flags.classes)
    return Pool(embedding, logits, passes, *images(flags.labelled), flags.budget)


def time_aljax(strategy: str, pool: Pool) -> dict:
    """Seconds of two queries, the first of which compiles."""
    from aljax.machine.devices import choose_devices
    from aljax.strategies import STRATEGIES, Options, Outputs, Query

    devices, seconds = choose_devices(), []
    for _ in range(2):
        query = Query(
            Outputs(pool.logits, None, pool.embedding, pool.passes),
            len(pool.logits),
            pool.budget,
            np.random.Philox(key=0),
            Outputs(pool.labelled_logits, None, pool.labelled_embedding),
            Options(fisher="binary"),
            devices,
        )
        begun = time.monotonic()
        chosen = STRATEGIES[strategy].select(query)
        seconds.append(time.monotonic() - begun)
    return {"seconds": seconds[1], "first_seconds": seconds[0], "chosen": chosen}


def time_peer(choose, pool: Pool, limit: float) -> dict:
    """Seconds of one query, or what they would have been without the limit."""
    few = (x[: len(x) // 50] for x in pool[:-1])
    choose(Pool(*few, 5), lambda done, of: None)  # which finds its libraries loaded
    begun, progress = time.monotonic(), [0, 1]

    def clock(done, of):
        progress[:] = done, of
        if time.monotonic() - begun > limit:
            raise Stopped

    try:
        chosen = choose(pool, clock)
    except Stopped:
        seconds = (time.monotonic() - begun) * progress[1] / progress[0]
        return {"seconds": seconds, "kind": "about"}
    return {"seconds": time.monotonic() - begun, "chosen": chosen}


def measure_side(flags: argparse.Namespace) -> dict:
    """Measures one side in this process."""
    pool = make_pool(flags)
    if flags.side == OURS:
        from aljax.machine.devices import use_compile_cache
        from aljax.runs.provenance import provenance

        use_compile_cache(flags.compile_cache_dir)
        about = provenance()
        before = peak_resident_bytes()
        found = time_aljax(flags.strategies, pool) | {"about": about}
    else:
        import torch

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        before = peak_resident_bytes()
        peer = PEERS[flags.strategies][flags.side]
        found = time_peer(peer, pool, flags.limit)
    if "chosen" in found:
        found["chosen"] = np.asarray(found["chosen"]).tolist()
    return found | {"bytes": peak_resident_bytes() - before}


def measure_apart(flags: argparse.Namespace, strategy: str, side: str) -> dict:
    """Measures a side in a process of its own."""
    line = [sys.executable, __file__, f"--side={side}", f"--strategies={strategy}"]
    line += [f"--{name}={getattr(flags, name)}" for name in (*COUNTS, "limit")]
    line.append(f"--compile_cache_dir={flags.compile_cache_dir}")
    present = os.environ.get("GLIBC_TUNABLES", "")
    environment = os.environ | {"GLIBC_TUNABLES": tunables(present)}
    try:
        # A little longer than the limit, for those that stop by themselves.
        return call(line, environment, flags.limit + 60)
    except TimeoutError:
        return {"seconds": flags.limit, "kind": "over"}


def sides(strategy: str) -> list[str]:
    """Who can choose by a strategy here."""
    try:
        import skactiveml  # noqa: F401
    except ImportError:
        return [OURS] + [s for s in PEERS[strategy] if s != "scikit-activeml"]
    return [OURS, *PEERS[strategy]]


def measure(flags: argparse.Namespace, strategy: str) -> list[dict]:
    """All rounds of a strategy: a row for each side."""
    rounds: dict[str, list[dict]] = {side: [] for side in sides(strategy)}
    for number in range(flags.rounds):
        for side, found in rounds.items():
            if found and found[-1]["seconds"] > flags.once_above:
                continue
            print(f"{strategy}, {side}: round {number + 1}", file=sys.stderr)
            found.append(measure_apart(flags, strategy, side))
    ours = rounds[OURS]
    rows = []
    for side, found in rounds.items():
        seconds = [one["seconds"] for one in found]
        both = [set(o["chosen"]) for o in (found[0], ours[0]) if "chosen" in o]
        rows.append(
            {
                "strategy": strategy,
                "side": side,
                "n": len(found),
                "kind": found[0].get("kind", "measured"),
                "seconds": statistics.median(seconds),
                "seconds_range": [min(seconds), max(seconds)],
                "first_seconds": found[0].get("first_seconds"),
                "bytes": max((o["bytes"] for o in found if "bytes" in o), default=None),
                "over_aljax": statistics.median(seconds)
                / statistics.median(one["seconds"] for one in ours),
                "same_images": len(both[0] & both[-1]) if len(both) == 2 else None,
                "about": ours[0].get("about"),
            }
        )
    return rows


def show(rows: list[dict]) -> None:
    """Prints the table."""
    heads = ("strategy", "side", "n", "seconds", "range", "aljax is", "GB", "same")
    form = "{:15} {:21} {:>2} {:>9} {:>15} {:>9} {:>5} {:>5}"
    print(form.format(*heads))
    signs = {"measured": "", "about": "~", "over": ">"}
    for row in rows:
        sign = signs[row["kind"]]
        low, high = row["seconds_range"]
        size, same = row["bytes"], row["same_images"]
        print(
            form.format(
                row["strategy"],
                row["side"],
                row["n"],
                f"{sign}{row['seconds']:.2f}",
                f"{low:.2f}–{high:.2f}",
                "" if row["side"] == OURS else f"{sign}{row['over_aljax']:.1f}×",
                "" if size is None else f"{size / 1e9:.2f}",
                "" if same is None else same,
            )
        )


def processor() -> str:
    """The machine's name, as lscpu says it."""
    try:
        said = subprocess.run(["lscpu"], capture_output=True, text=True).stdout
    except FileNotFoundError:
        said = ""
    fields = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
    wanted = ("Model name", "CPU(s)", "L2 cache", "L3 cache")
    return ", ".join(
        f"{name}: {fields[name].strip()}" for name in wanted if name in fields
    )


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--strategies", default=",".join(PEERS))
    for name, default in (COUNTS | {"rounds": 3}).items():
        parser.add_argument(f"--{name}", type=positive, default=default)
    parser.add_argument("--limit", type=float, default=600)
    parser.add_argument("--once_above", type=float, default=60)
    parser.add_argument("--compile_cache_dir", default="~/.cache/aljax/programs")
    parser.add_argument("--json", type=Path, default=Path("query.json"))
    parser.add_argument("--side", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    unknown = sorted({*flags.strategies.split(",")} - {*PEERS})
    if unknown:
        parser.error(f"--strategies: {unknown[0]!r} is none of {', '.join(PEERS)}")
    return flags


def main() -> None:
    flags = parse()
    if flags.side:
        print(json.dumps(measure_side(flags)))
        return
    settings = vars(flags) | {"json": flags.json.name}
    report = {"processor": processor(), "settings": settings, "rows": []}
    for strategy in flags.strategies.split(","):
        load = os.getloadavg()[0]
        rows = [row | {"load_before": load} for row in measure(flags, strategy)]
        about = [row.pop("about") for row in rows][0]
        report |= {"about": about}
        report["rows"] += rows
        flags.json.write_text(json.dumps(report, indent=2) + "\n")
    show(report["rows"])


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(str(error))
