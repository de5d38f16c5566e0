"""What people call networks, optimizers, strategies and fields; their usual order."""

import re

OPTIMIZERS = {
    **{"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSProp"},
    "adam_sgd": "Adam then SGD",
}
STRATEGIES = {
    "random": "random",
    "entropy": "entropy",
    "least_confidence": "least confidence",
    "margin": "margin",
    "learning_loss": "learning loss",
    "badge": "BADGE",
    "bald": "BALD",
    "bait": "BAIT",
    "k_center": "k-center",
    "typiclust": "TypiClust",
}
FIELDS = {
    "labeled": "labels",
    "test_accuracy": "accuracy",
    "f1_macro": "macro F1",
    "label_efficiency": "label efficiency",
    "loss_ranking_accuracy": "pairs of losses ordered rightly",
    "calibration_error": "calibration error",
    "train_seconds": "training (s)",
    "evaluate_seconds": "evaluation (s)",
    "query_seconds": "query (s)",
    "compile_seconds": "compiling (s)",
    "peak_device_bytes": "peak device memory",
    "peak_host_bytes": "peak host memory",
    "data_fingerprint": "images",
}


def model_name(model: str) -> str:
    """`resnet18` as people write it: "ResNet18"."""
    return model.replace("resnet", "ResNet")


def optimizer_name(optimizer: str) -> str:
    """`adamw` as people write it: "AdamW"."""
    return OPTIMIZERS.get(optimizer, optimizer)


def strategy_name(strategy: str) -> str:
    """`learning_loss` as people write it: "learning loss"."""
    return STRATEGIES.get(strategy, strategy.replace("_", " "))


# What people call a name, by its kind.
NAMES = {"model": model_name, "optimizer": optimizer_name, "strategy": strategy_name}


def pair_name(model: str, optimizer: str) -> str:
    """A model–optimizer pair: "ResNet18 + SGD"."""
    return f"{model_name(model)} + {optimizer_name(optimizer)}"


def cell_name(model: str, optimizer: str, strategy: str) -> str:
    """What the trials of one cell share: "ResNet18 + SGD, learning loss"."""
    return f"{pair_name(model, optimizer)}, {strategy_name(strategy)}"


def field_name(field: str) -> str:
    """What a page calls a field of a row or of a configuration."""
    if field.startswith("optimizers."):
        _, optimizer, field = field.split(".", 2)
        return f"{optimizer_name(optimizer)} {field.replace('_', ' ')}"
    return FIELDS.get(field, field.replace("_", " "))


def listed(words: list[str] | tuple[str, ...]) -> str:
    """Words in a sentence: "a, b and c"."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def counted(number: int, noun: str) -> str:
    """A count and its noun: "1 trial", "3 trials"."""
    return f"{number} {noun}{'s' * (number != 1)}"


def place(name: str, kind: str) -> tuple[int, list]:
    """What names of a kind are sorted by: the usual order, then numbers and letters."""
    usual = list({"optimizer": OPTIMIZERS, "strategy": STRATEGIES}.get(kind, ()))
    natural = [int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", name)]
    return usual.index(name) if name in usual else len(usual), natural


def in_order(names: set[str], kind: str) -> tuple[str, ...]:
    """Sorts names of a kind, such as "optimizer", by `place`."""
    return tuple(sorted(names, key=lambda name: place(name, kind)))
