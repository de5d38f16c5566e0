"""Uncertainty strategies: a score per image, larger = more wanted.

A new one is a function `[N, K] -> [N]` and one line in the table:

    STRATEGIES["mine"] = by_score(mine, "logits")

Arithmetic is float64. Sure answers of a network are all alike, 1 − 1e-20 of one class,
so nothing here subtracts a probability from 1: what is left over is summed.
"""

from collections.abc import Callable

import numpy as np
from scipy.special import logsumexp

from aljax.strategies.noise import perturbed
from aljax.strategies.strategy import Outputs, Query, Strategy, highest


def by_score(
    score: Callable[[np.ndarray], np.ndarray],
    output: str,
    order: Callable[[np.ndarray], np.ndarray] | None = None,
    least: float | None = None,
) -> Strategy:
    """The strategy that takes the highest score, or draws by it: `config.query.noise`.

    Args:
        score: one field of Outputs -> `[N]`, larger = more wanted.
        output: the name of that field.
        order: grows with the score and tells apart what the score rounds to one number,
            if there is such a form; None: the score itself.
        least: the worst score there can be, see `noise.perturbed`.
    """

    def score_all(candidates: Outputs) -> np.ndarray:
        return score(getattr(candidates, output))

    def select(query: Query) -> np.ndarray:
        options, values = query.options, getattr(query.candidates, output)
        if options.noise == "none":
            wanted = (order or score)(values)
        else:
            noise = options.noise, options.beta, query.random
            wanted = perturbed(score(values), *noise, least)
        return highest(wanted, query.budget, query.random)

    return Strategy(select, frozenset({output}), score_all, draws=True)


def split(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorts the answers of each image, the likeliest last.

    Args:
        logits: `[..., K]`.

    Returns:
        z − max z, sorted, and log of Σ p over all but the likeliest, relative to it:
        log (1 − p₍₁₎) / p₍₁₎. float64, `[..., K]` and `[...]`.
    """
    z = np.sort(np.asarray(logits, np.float64), -1)
    z = z - z[..., -1:]
    return z, logsumexp(z[..., :-1], -1)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """log p in the order of `split`, also of the likeliest: −log(1 + Σ others)."""
    z, rest = split(logits)
    return z - np.logaddexp(0, rest)[..., None]


def entropy(logits: np.ndarray) -> np.ndarray:
    """Shannon entropy −Σ p log p of the softmax, in nats.

    Shannon, A Mathematical Theory of Communication, 1948; as a query strategy: Settles,
    Active Learning Literature Survey, 2009, section 3.1.

    Args:
        logits: `[N, K]`.

    Returns:
        `[N]` float64 in 0…log K.
    """
    log_p = log_softmax(logits)
    return -(np.exp(log_p) * log_p).sum(-1)


def log_entropy(logits: np.ndarray) -> np.ndarray:
    """The logarithm of `entropy`, which does not end at 1e-308."""
    z, rest = split(logits)
    log_p = z - np.logaddexp(0, rest)[..., None]
    # log(−log p₍₁₎) is the logarithm of log(1 + e^rest), and rest where that vanishes.
    first = np.where(rest < -30, rest, np.log(np.logaddexp(0, np.maximum(rest, -30))))
    terms = log_p[..., :-1] + np.log(-log_p[..., :-1])
    return np.logaddexp(logsumexp(terms, -1), log_p[..., -1] + first)


def least_confidence(logits: np.ndarray) -> np.ndarray:
    """1 − max p: how unsure the network is of its answer.

    Lewis & Gale, A Sequential Algorithm for Training Text Classifiers, SIGIR 1994.

    Args:
        logits: `[N, K]`.

    Returns:
        `[N]` float64 in 0…1 − 1/K.
    """
    _, rest = split(logits)
    return np.exp(rest - np.logaddexp(0, rest))


def log_odds_against(logits: np.ndarray) -> np.ndarray:
    """log (1 − max p) / max p, which orders as `least_confidence` does."""
    return split(logits)[1]


def margin(logits: np.ndarray) -> np.ndarray:
    """p₍₂₎ − p₍₁₎: minus the lead of the first answer over the second.

    Scheffer, Decomain & Wrobel, Active Hidden Markov Models, IDA 2001. The smallest
    margin is wanted first, hence the sign.

    Args:
        logits: `[N, K]`.

    Returns:
        `[N]` float64 in −1…0.
    """
    z, rest = split(logits)
    return np.expm1(z[..., -2]) * np.exp(-np.logaddexp(0, rest))


def log_odds_of_tie(logits: np.ndarray) -> np.ndarray:
    """log (1 − m) / m of the margin m, which orders as `margin` does.

    With p₍₁₎ as the unit, m is 1 − e^z₍₂₎ and 1 − m is e^z₍₂₎ and all but p₍₁₎.
    """
    z, rest = split(logits)
    with np.errstate(divide="ignore"):  # a tie comes before all others
        return np.logaddexp(z[..., -2], rest) - np.log(-np.expm1(z[..., -2]))


def predicted_loss(losses: np.ndarray) -> np.ndarray:
    """l̂: the loss that the loss prediction module expects.

    Yoo & Kweon, Learning Loss for Active Learning, CVPR 2019 (arXiv 1905.03677). It is
    trained to rank, so its zero means nothing.

    Args:
        losses: `[N]`.

    Returns:
        `[N]` float64.
    """
    return losses.astype(np.float64)
