"""Query strategies: what a network says of the unlabelled images in, positions out.

A strategy knows no model, no dataset and no device. It declares what it `needs`, and
the loop computes only that. Uncertainty strategies are a score per image, larger = more
wanted; ties go to the lowest position. Arithmetic is float64.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import entr, softmax


@dataclass(frozen=True)
class Outputs:
    """What a network says of some images; None where the strategy did not ask."""

    logits: np.ndarray | None = None  # [N, K] float32
    predicted_loss: np.ndarray | None = None  # [N] float32
    embedding: np.ndarray | None = None  # [N, D] float32


@dataclass(frozen=True)
class Strategy:
    """A way to choose images.

    Attributes:
        select: (random, candidates, labelled, count, budget) -> `[budget]` positions
            among the `count` candidates, best first. `random` is a generator of its
            own; `candidates` and `labelled` are Outputs.
        needs: names of the fields of Outputs it reads of the candidates, and "labelled"
            if it reads those of the labelled images too.
        score: what it thinks of each candidate `[count]`, larger = more wanted, kept
            with what is bought; None where it has no score for an image alone.
    """

    select: Callable[[np.random.Philox, Outputs, Outputs | None, int, int], np.ndarray]
    needs: frozenset[str] = frozenset()
    score: Callable[[Outputs], np.ndarray] | None = None


def highest(scores: np.ndarray, budget: int) -> np.ndarray:
    """Positions of the `budget` highest of `scores` `[N]`, ties by lowest position."""
    return np.argsort(-scores, kind="stable")[:budget]


def shuffled(random: np.random.Philox, count: int, budget: int) -> np.ndarray:
    """`budget` of `count` positions, uniformly, without replacement.

    Sorts raw random words, a stream that numpy promises never to change.
    """
    return np.argsort(random.random_raw(count), kind="stable")[:budget]


def entropy(logits: np.ndarray) -> np.ndarray:
    """Shannon entropy −Σ p log p of the softmax, in nats.

    Shannon, A Mathematical Theory of Communication, 1948; as a query strategy: Settles,
    Active Learning Literature Survey, 2009, section 3.1.

    Args:
        logits: `[N, K]`.

    Returns:
        `[N]` float64 in 0…log K.
    """
    return entr(softmax(logits.astype(np.float64), -1)).sum(-1)


def least_confidence(logits: np.ndarray) -> np.ndarray:
    """1 − max p: how unsure the network is of its answer.

    Lewis & Gale, A Sequential Algorithm for Training Text Classifiers, SIGIR 1994.

    Args:
        logits: `[N, K]`.

    Returns:
        `[N]` float64 in 0…1 − 1/K.
    """
    return 1 - softmax(logits.astype(np.float64), -1).max(-1)


def margin(logits: np.ndarray) -> np.ndarray:
    """p₍₂₎ − p₍₁₎: minus the lead of the first answer over the second.

    Scheffer, Decomain & Wrobel, Active Hidden Markov Models, IDA 2001. The smallest
    margin is wanted first, hence the sign.

    Args:
        logits: `[N, K]`.

    Returns:
        `[N]` float64 in −1…0.
    """
    p = np.partition(softmax(logits.astype(np.float64), -1), -2, -1)
    return p[:, -2] - p[:, -1]


def by_score(score: Callable[[np.ndarray], np.ndarray], output: str) -> Strategy:
    """The strategy that takes the highest `score` of one field of Outputs."""

    def score_all(candidates: Outputs) -> np.ndarray:
        return score(getattr(candidates, output))

    def select(random, candidates, labelled, count, budget):
        return highest(score_all(candidates), budget)

    return Strategy(select, frozenset({output}), score_all)


def check_choice(name: str, chosen: np.ndarray, count: int, budget: int) -> np.ndarray:
    """Checks a strategy's answer, before anything is bought.

    Args:
        name: of the strategy.
        chosen: its answer.
        count: of candidates.
        budget: how many it was asked for.

    Returns:
        `[budget]` int64.

    Raises:
        ValueError: names the strategy and what is wrong with its answer.
    """
    chosen = np.asarray(chosen)
    if chosen.shape != (budget,):
        wrong = f"an array of shape {chosen.shape}"
    elif not np.issubdtype(chosen.dtype, np.integer):
        wrong = f"numbers of type {chosen.dtype}"
    elif chosen.min(initial=0) < 0 or chosen.max(initial=0) >= count:
        outside = chosen[(chosen < 0) | (chosen >= count)][0]
        wrong = f"position {outside}"
    elif len(np.unique(chosen)) < budget:
        values, times = np.unique(chosen, return_counts=True)
        wrong = f"position {values[times > 1][0]} more than once"
    else:
        return chosen.astype(np.int64)
    raise ValueError(
        f"--config.strategy: {name} answered with {wrong}; it must give {budget} "
        f"different positions, integers from 0 to {count - 1}. Nothing was bought."
    )


def _random(random, candidates, labelled, count, budget):
    return shuffled(random, count, budget)


def predicted_loss(losses: np.ndarray) -> np.ndarray:
    """l̂: the loss that the loss prediction module expects.

    Yoo & Kweon, Learning Loss for Active Learning, CVPR 2019 (arXiv 1905.03677).

    Args:
        losses: `[N]`.

    Returns:
        `[N]` float64.
    """
    return losses.astype(np.float64)


STRATEGIES = {
    "random": Strategy(_random),
    "entropy": by_score(entropy, "logits"),
    "least_confidence": by_score(least_confidence, "logits"),
    "margin": by_score(margin, "logits"),
    "learning_loss": by_score(predicted_loss, "predicted_loss"),
}
