"""What a sheet says in words."""

from typing import Any

from sheet_tasks import WORDS

KNOWN = "On CIFAR-10, 46 to 51 % are known (eval-al, n = 3; Yoo & Kweon, n = 5)"


def name_of(report: dict[str, Any]) -> str:
    """What people call the machine: its GPU, or else its processor."""
    machine, device = report["machine"], str(report["device"] or "")
    if machine["gpus"] and report["platform"] != "cpu":
        names = [gpu["name"] for gpu in machine["gpus"]]
        return f"{len(names)} × {names[0]}"
    inside = (
        device.partition("(")[2].removesuffix(")") if "(Intel" not in device else ""
    )
    name = machine["lscpu"].get("Model name") or inside or device or "this machine"
    return f"{name}, {machine['lscpu'].get('CPU(s)', '?')} cores"


def lead(report: dict[str, Any]) -> str:
    """What was measured with what, and when."""
    versions, settings = report["versions"] or {}, report["settings"]
    minutes = sum(call.get("minutes", 0) for call in report["calls"])
    torch = f"PyTorch {report['torch']}" if report["torch"] else "without PyTorch"
    return (
        f"ResNets of width {settings['width']} on images of 32×32, SGD, loss "
        f"prediction module included · jax {versions.get('jax')}, {torch} · commit "
        f"{report['commit']} · {report['calls'][0]['begun'][:10]}, "
        f"{minutes:.0f} minutes"
    )


def model_name(name: str) -> str:
    """What people call a network."""
    return name.replace("resnet", "ResNet")


def _phase(row: dict[str, Any]) -> str:
    return WORDS[row["phase"]].capitalize()


def answers(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What the sheet says: question, verdict or none, sentence."""
    lines, compared = [], [r for r in report["rows"] if "ratio_rounds" in r]
    for phase, precision in dict.fromkeys(
        (_phase(r), r["precision"]) for r in compared
    ):
        rows = [
            r for r in compared if (_phase(r), r["precision"]) == (phase, precision)
        ]
        said = ", ".join(
            f"{model_name(r['model'])} {r['ratio_over_tuned']:.2f}×" for r in rows
        )
        ratios = [ratio for r in rows for ratio in r["ratio_rounds"]]
        verdict = "mixed"
        if min(ratios) > 1 or max(ratios) < 1:
            verdict = "faster" if min(ratios) > 1 else "slower"
        text = f"{said} the speed of the fastest PyTorch of this precision."
        lines.append((f"{phase}, {precision}", verdict, text))
    if report["calibration"]:
        lines.append(("Calibration", "", _calibration(report["calibration"])))
    for precision, same in report["bits"].items():
        verdict = "the same" if all(same.values()) else "not the same"
        text = " ".join(_same(manner, equal) for manner, equal in same.items())
        lines.append((f"Bits, {precision}", verdict, text))
    return lines


def _same(manner: str, equal: bool) -> str:
    what = {
        "resumed": "A run that is stopped in an epoch, and resumed by a new process,",
        "anew": "One that compiles its programs anew",
    }[manner]
    end = "the same weights and rows, bit by bit" if equal else "other bits"
    return f"{what} ends with {end}."


def _calibration(one: dict[str, Any]) -> str:
    """The sentence on the calibration."""
    images = f"images of {one['file']}"
    if one["file"] is None:
        images = "the embedded images of Fashion-MNIST, since no --data was given"
    whole = one["width"] == 64 and one["epochs"] == 200
    beside = f" {KNOWN}." if whole and one["file"] else ""
    narrow = "" if one["width"] == 64 else " Narrower than the recipe's 64, for time."
    name = model_name(one["model"])
    return (
        f"{name} of width {one['width']}, {one['epochs']} epochs on "
        f"{one['labeled']:,} labels of {images}: {one['test_accuracy']:.1%} right on "
        f"the test set after {one['train_seconds']:.0f} s of training and "
        f"{one['compile_seconds']:.0f} s of compiling.{narrow}{beside}"
    )
