"""Stochastic batches: noise on any score, so that a batch is not all alike.

Kirsch et al., Stochastic Batch Acquisition: A Simple Baseline for Deep Active Learning,
TMLR 2023 (arXiv 2106.12059). A batch is drawn image by image, without replacement, with
probabilities that grow with the score s and with the coldness β:

    power     p ∝ s^β             images without a score are not worth a draw
    softmax   p ∝ exp(β s)        the scale of s counts
    softrank  p ∝ rank^−β         only the order counts; rank 1 is the highest score

Such a draw is one sort (Gumbel top-k: Vieira, 2014; Kool et al., ICML 2019): the
highest of log p + g, with g from Gumbel's distribution.
"""

from collections.abc import Callable

import numpy as np


def _power(scores: np.ndarray, beta: float, draws: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):  # a score of 0 comes after all others
        return beta * np.log(scores)


def _softmax(scores: np.ndarray, beta: float, draws: np.ndarray) -> np.ndarray:
    return beta * scores


def _softrank(scores: np.ndarray, beta: float, draws: np.ndarray) -> np.ndarray:
    ranks = np.empty(len(scores))
    ranks[np.lexsort((draws, -scores))] = 1 + np.arange(len(scores))
    return -beta * np.log(ranks)


_LOG_PROBABILITY: dict[str, Callable] = {
    "power": _power,
    "softmax": _softmax,
    "softrank": _softrank,
}


def perturbed(
    scores: np.ndarray,
    noise: str,
    beta: float,
    random: np.random.Philox,
    least: float | None = None,
) -> np.ndarray:
    """log p + g: taking the highest of these draws the batch.

    Args:
        scores: `[N]`.
        noise: a name of NOISES but "none".
        beta: β; infinite would be the highest scores themselves.
        random: draws the Gumbel noise, and the ranks of equal scores.
        least: the worst score there can be, which power sampling takes for 0; None: the
            lowest of these scores, for a score whose zero means nothing.

    Returns:
        `[N]` float64.
    """
    uniform = random.random_raw(len(scores))
    draws = random.random_raw(len(scores))
    gumbel = -np.log(-np.log((uniform + 0.5) * 2.0**-64))
    scores = np.asarray(scores, np.float64)
    least = scores.min() if least is None else least
    return _LOG_PROBABILITY[noise](scores - least, beta, draws) + gumbel
