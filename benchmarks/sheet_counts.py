"""What a step on a GPU is made of, as counted in its program, and how fast that went.

`gpu_counts.json` was counted without a GPU, in programs compiled for an H100; another
kind of GPU may be given others.
"""

import json
from pathlib import Path
from typing import Any

COUNTED = Path(__file__).with_name("gpu_counts.json")
BATCHES = {"train": 128, "score": 512}  # images of the steps that were counted
HEAD = [
    *("A step", "kernels", "convolutions", "GB moved", "ms", "GB/s"),
    "share of what a copy moves",
]


def counts(rows: list[dict[str, Any]], copies: float | None) -> list[dict[str, Any]]:
    """What was counted of each measured case, beside the time of its step.

    Args:
        rows: of a sheet.
        copies: bytes a second that a copy reads and writes on this machine.
    """
    programs = json.loads(COUNTED.read_text())["programs"]
    known = {program["program"]: program for program in programs}
    made = []
    for row in rows:
        name = "/".join((row["model"], row["precision"], row["phase"], "1"))
        if name not in known or row["batch_size"] != BATCHES[row["phase"]]:
            continue
        seconds = row["batch_size"] / row["images_per_second"]["aljax"]
        speed = known[name]["gigabytes"] * 1e9 / seconds
        share = speed / copies if copies else None
        made.append(
            known[name]
            | {"seconds": seconds, "bytes_per_second": speed, "copy_share": share}
        )
    return made


def cells(one: dict[str, Any]) -> list[str]:
    """A line of the table under HEAD."""
    share = one["copy_share"]
    return [
        one["program"].removesuffix("/1").replace("/", ", "),
        f"{one['kernels']:,}",
        f"{one['convolutions']:,}",
        f"{one['gigabytes']:.2f}",
        f"{1e3 * one['seconds']:,.1f}",
        f"{one['bytes_per_second'] / 1e9:,.0f}",
        "" if share is None else f"{share:.0%}",
    ]
