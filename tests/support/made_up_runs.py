"""Made-up runs with known answers: what a report should say of them is no question."""

from collections.abc import Mapping, Sequence

import numpy as np

from tests.support.made_up_folders import CLASSES, POOL, Accuracies, Grid, write

__all__ = ["CLASSES", "POOL", "Grid", "curves", "write"]

# Test accuracy of a plausible run: 48.0 % with 1,000 labels, 88.2 % with 10,000.
CURVE = 0.9 - 0.42 * np.exp(-0.35 * np.arange(10))
# What a trial's luck adds for whatever is run in it; trials spread by three points.
LUCK = (0.031, -0.024, 0.004, -0.035, 0.024)
# What a gain varies by from trial to trial; the mean of five is zero.
NOISE = {
    "small": (0.002, -0.001, 0.0005, -0.002, 0.0005),
    "large": (0.015, -0.02, 0.01, -0.01, 0.005),
}


def curves(
    gains: Mapping[str, float],
    noise: str = "small",
    luck: Sequence[float] = LUCK,
    cycles: int = 10,
) -> Accuracies:
    """`CURVE`, plus the trial's luck, plus what networks, optimizers, strategies gain.

    Args:
        gains: by name of a network, optimizer or strategy, a fraction; a strategy gains
            it from cycle 2 on, so that its area gains 17/18 of it over ten cycles.
        noise: of each gain, by trial: a name in `NOISE`, turned by one trial for every
            name so that no two share it.
        luck: by trial, of everything in it.
        cycles: how many of the ten.
    """

    def accuracies(model: str, optimizer: str, strategy: str, trial: int):
        curve = CURVE[:cycles] + luck[trial - 1]
        for place, name in enumerate((model, optimizer, strategy)):
            if name not in gains:
                continue
            turn = list(gains).index(name)
            gain = gains[name] + NOISE[noise][(trial - 1 + turn) % len(luck)]
            curve = curve + gain * (np.arange(cycles) >= (1 if place == 2 else 0))
        return curve.tolist()

    return accuracies


# Entropy gains four points in every trial, and says so.
LARGE = Grid(curves({"entropy": 0.04}))
# Nobody gains anything.
NONE = Grid(curves({"entropy": 0.0}, "large"))
# Two points: trials spread by three, their differences by 0.2.
ONLY_PAIRED = Grid(curves({"entropy": 0.02}))
# As the authors' published results: trial 1 at 42 %, the others beyond 73 %.
LEAK = Grid(
    lambda model, optimizer, strategy, trial: (
        CURVE - 0.06 if trial == 1 else 0.75 + 0.014 * np.arange(10) + 0.002 * trial
    ).tolist(),
    strategies=("learning_loss",),
)


def lost_to_holm() -> Grid:
    """Margin gains with p = 0.02, entropy and least confidence nothing: 0.06 of three.

    The area's gains by trial have the mean 1 and the t of p = 0.02, 3.7469.
    """
    shape = np.array((2, -1, 0.5, -2, 0.5))
    gain = 0.01 * (1 + shape / shape.std(ddof=1) * np.sqrt(5) / 3.7469) * 18 / 17
    plain = curves({"entropy": 0.001, "least_confidence": 0.0}, "large")

    def accuracies(model: str, optimizer: str, strategy: str, trial: int):
        curve = np.array(plain(model, optimizer, strategy, trial))
        if strategy == "margin":
            curve[1:] += gain[trial - 1]
        return curve.tolist()

    return Grid(
        accuracies, strategies=("random", "entropy", "least_confidence", "margin")
    )


def collapsed() -> Grid:
    """Entropy's third trial stays at 10 %, the chance of ten classes, from cycle 4."""
    plain = curves({"entropy": 0.03})

    def accuracies(model: str, optimizer: str, strategy: str, trial: int):
        curve = plain(model, optimizer, strategy, trial)
        broken = strategy == "entropy" and trial == 3
        return curve[:3] + [0.1] * 7 if broken else curve

    return Grid(accuracies)


def unfinished() -> Grid:
    """Entropy's second trial failed after four cycles, its fifth was never begun."""
    plain = curves({"entropy": 0.03})

    def accuracies(model: str, optimizer: str, strategy: str, trial: int):
        curve = plain(model, optimizer, strategy, trial)
        if strategy == "entropy" and trial == 5:
            return None
        return curve[:4] if strategy == "entropy" and trial == 2 else curve

    reason = "the loss is not a finite number in cycle 5, epoch 3."
    return Grid(accuracies, failed={"resnet18/sgd/entropy/trial_2": reason})


def other_starts() -> Grid:
    """Entropy's first cycles are half a point above random's: they started apart."""
    plain = curves({"entropy": 0.02})

    def accuracies(model: str, optimizer: str, strategy: str, trial: int):
        curve = plain(model, optimizer, strategy, trial)
        return [curve[0] + 0.005 * (strategy == "entropy"), *curve[1:]]

    return Grid(accuracies)


def whole_study(listed: int = 20, trials: int = 5) -> Grid:
    """Twelve pairs and five strategies: as large as a report has to be made quickly."""
    gains = {
        **{"resnet34": 0.01, "resnet50": 0.005, "adam": -0.03, "adamw": -0.035},
        **{"rmsprop": -0.02, "entropy": 0.02, "margin": 0.025, "learning_loss": 0.03},
        "least_confidence": 0.02,
    }
    return Grid(
        curves(gains),
        models=("resnet18", "resnet34", "resnet50"),
        optimizers=("sgd", "adam", "adamw", "rmsprop"),
        strategies=("random", "learning_loss", "entropy", "least_confidence", "margin"),
        trials=trials,
        listed=listed,
    )
