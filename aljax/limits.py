"""How small and how large each number of a configuration may be."""

import math
from collections.abc import Mapping
from typing import Any

BELOW_ONE, ABOVE_ZERO = math.nextafter(1.0, 0.0), math.nextafter(0.0, 1.0)
# Least and most of each number: beyond lies what nobody means, such as a slip of the
# finger, and what no machine can carry out.
LIMITS = {
    "width": (1, 4096),
    "epochs": (1, 10**6),
    "batch_size": (1, 2**17),
    "score_batch_size": (1, 2**17),
    "trials": (1, 10_000),
    "cycles": (1, 10_000),
    "initial": (1, 10**9),
    "budget": (1, 10**9),
    "validation": (0, 10**9),
    "pool_subset": (1, 10**9),
    "seed": (0, 2**32 - 1),  # the bits that a key keeps of it
    "data.image_size": (1, 8192),
    "augmentation.crop_padding": (0, 1024),
    "schedule.milestones": (0, 10**9),
    "schedule.factor": (0, 100),
    "loss_prediction.weight": (0, 10**6),
    "loss_prediction.margin": (0, 10**6),
    "loss_prediction.detach_epoch": (0, 10**9),
    "checkpoint_seconds": (0, 10**9),
    "query.beta": (ABOVE_ZERO, math.inf),
    "query.passes": (2, 10_000),  # which are compared
    "query.dropout": (ABOVE_ZERO, BELOW_ONE),
    "query.clusters": (1, 10**6),
    "query.oversample": (1, 10**6),
    "query.neighbours": (1, 10_000),
    "query.regularisation": (ABOVE_ZERO, math.inf),
}
# The same of the settings of optimizers, whichever has them.
OPTIMIZER_LIMITS = {
    "learning_rate": (0, 1000),
    "weight_decay": (0, 1),
    "epsilon": (0, 1),
    "decay": (0, 1),
    "momentum": (0, BELOW_ONE),
    "beta1": (0, BELOW_ONE),
    "beta2": (0, BELOW_ONE),
    "switch_epoch": (1, 10**9),
    "sgd_learning_rate": (0, 1000),
    "sgd_momentum": (0, BELOW_ONE),
    "sgd_weight_decay": (0, 1),
}


def limits_of(name: str, optimizers: Mapping[str, Any]) -> tuple[float, float] | None:
    """Least and most of a field, given the settings of optimizers.

    None: a setting of somebody's own optimizer, but for its learning rate.
    """
    if not name.startswith("optimizers."):
        return LIMITS.get(name, (0, math.inf))
    _, optimizer, field = name.split(".", 2)
    ours = type(optimizers[optimizer]).__module__ == "aljax.optimizers"
    if ours or field == "learning_rate":
        return OPTIMIZER_LIMITS.get(field, (0, math.inf))
    return None


def check_number(field: str, number: float, least: float, most: float) -> None:
    """Refuses a number that is not finite or beyond its limits: ValueError."""
    if not math.isfinite(number):
        raise ValueError(f"{field}: {number} is not a finite number; give one.")
    if number < least:
        bound = {0: "zero or more", ABOVE_ZERO: "above 0"}.get(
            least, f"at least {least}"
        )
        raise ValueError(f"{field}: {number} is too small; it must be {bound}.")
    if number > most:
        bound = "below 1" if most == BELOW_ONE else f"at most {most:,}"
        raise ValueError(f"{field}: {number} is too large; it must be {bound}.")
