"""What the measurements of a sheet have come to: rows, ratios, verdicts."""

import argparse
import itertools
import re
from typing import Any

import scaling
import throughput
from sheet_counts import counts
from sheet_tasks import FIRST, MANNERS, PRECISIONS, has_torch, scaling_flags

NO_TIME = "no time was left"


def results(flags: argparse.Namespace, found: dict[str, dict]) -> dict[str, Any]:
    """Everything that a page shows, out of the single measurements by name."""
    top = ceilings(found)
    made = rows(found, {p: c["flops"] for p, c in top.items()})
    copies = [c["copy_bytes_per_second"] for c in top.values()]
    gpu = found.get(FIRST, {}).get("platform", "cpu") != "cpu" and flags.width == 64
    return {
        "ceilings": top,
        "rows": made,
        "counts": counts(made, max(copies, default=None)) if gpu else [],
        "calibration": found.get("calibration"),
        "bits": bits(found),
        "scaling": scaling_rows(flags, found),
    }


def ceilings(found: dict[str, dict]) -> dict[str, dict]:
    """precision -> the better of JAX and PyTorch, and each of them."""
    made: dict[str, dict] = {}
    for name, one in found.items():
        if name.startswith("ceiling/"):
            _, by, precision = name.split("/")
            made.setdefault(precision, {})[by] = {
                field: one[field] for field in ("flops", "copy_bytes_per_second")
            }
    return {
        precision: {
            "flops": max(one["flops"] for one in by.values()),
            "copy_bytes_per_second": max(
                one["copy_bytes_per_second"] for one in by.values()
            ),
            "by": by,
        }
        for precision, by in made.items()
    }


def rounds_of(found: dict[str, dict]) -> dict[tuple[str, str, str], list[dict]]:
    """(model, phase, precision) -> its rounds of {side: measurement}, whole ones only.

    A round that was cut short lacks sides that the first one has, and waits.
    """
    cases: dict[tuple, dict[int, dict]] = {}
    for name, one in found.items():
        if name.startswith("throughput/"):
            _, model, phase, precision, side, number = name.split("/")
            case = cases.setdefault((model, phase, precision), {})
            case.setdefault(int(number), {})[side] = one
    whole = {}
    for case, by_number in cases.items():
        sides = by_number[min(by_number)].keys()
        kept = [r for _, r in sorted(by_number.items()) if r.keys() == sides]
        if "aljax" in sides:
            whole[case] = kept
    return whole


def rows(found: dict[str, dict], tops: dict[str, float]) -> list[dict[str, Any]]:
    """One row per case: every side's median and range, and ratios within rounds."""
    made = []
    for (model, phase, precision), rounds in rounds_of(found).items():
        case = (model, phase, rounds[0]["aljax"]["batch_size"])
        made.append(
            throughput.row(case, rounds, tops.get(precision))
            | {"images_per_second_rounds": _rates(rounds)}
        )
    order = itertools.product(throughput.PHASES, throughput.MODELS, PRECISIONS)
    places = {case: place for place, case in enumerate(order)}
    made.sort(key=lambda r: places[r["phase"], r["model"], r["precision"]])
    for row in made:
        row["best_torch"] = _best_torch(made, row)
    return made


def _rates(rounds: list[dict]) -> dict[str, list[float]]:
    return {side: [r[side]["images_per_second"] for r in rounds] for side in rounds[0]}


def _best_torch(made: list[dict], row: dict) -> dict[str, Any] | None:
    """The fastest PyTorch of any precision in the same case, and our ratio over it."""
    same = [r for r in made if all(r[n] == row[n] for n in ("model", "phase"))]
    rates = [(r["images_per_second"].get("torch_tuned"), r["precision"]) for r in same]
    known = [(rate, precision) for rate, precision in rates if rate]
    if not known:
        return None
    rate, precision = max(known)
    ratio = row["images_per_second"]["aljax"] / rate
    return {"images_per_second": rate, "precision": precision, "ratio": ratio}


def bits(found: dict[str, dict]) -> dict[str, dict[str, bool]]:
    """precision -> whether a manner came to the very bits of the undisturbed run."""
    made: dict[str, dict[str, bool]] = {}
    for name, one in found.items():
        part, *rest = name.split("/")
        if part != "bits" or rest[1] not in ("resumed", "anew"):
            continue
        precision, manner = rest
        whole = found.get(f"bits/{precision}/{MANNERS[0]}")
        if whole:
            same = all(one[field] == whole[field] for field in ("weights", "rows"))
            made.setdefault(precision, {})[manner] = same
    return made


def scaling_rows(flags: argparse.Namespace, found: dict[str, dict]) -> list[dict]:
    """What `scaling.py` makes of the rounds that are whole."""
    if FIRST not in found:
        return []
    cases, measured = scaling.cases(scaling_flags(flags, found[FIRST])), {}
    for number in range(1, flags.rounds + 1):
        names = {c: "/".join(map(str, ("scaling", *c[:4], number))) for c in cases}
        if all(name in found for name in names.values()):
            for case, name in names.items():
                measured.setdefault(case, []).append(found[name])
    return scaling.rows(measured)


def missing(left: list[tuple[str, str, str]], flags: argparse.Namespace) -> list[dict]:
    """What was not measured and why: a case in one line, and further rounds in one.

    Args:
        left: name, title and reason of each.
        flags: tell which parts were asked for.
    """
    alike, later = {}, 0
    for name, title, reason in left:
        again = re.search(r"/([2-9]|\d\d+)$", name)
        if again and reason == NO_TIME:
            later += 1
            continue
        what, _, which = title.removesuffix(", round 1").rpartition(", ")
        alike.setdefault((what, reason), []).append(which)
    made = [
        {"what": f"{what} ({', '.join(which)})", "why": reason}
        for (what, reason), which in alike.items()
    ]
    if later:
        text = f"{later} measurements of further rounds"
        made.append({"what": text, "why": NO_TIME})
    if not has_torch() and "throughput" in flags.parts:
        why = "it is not installed: only aljax was measured"
        made.append({"what": "PyTorch", "why": why})
    return made
