"""BALD: images on which networks that dropout draws disagree.

Houlsby et al., Bayesian Active Learning for Classification and Preference Learning,
2011 (arXiv 1112.5745); for networks with dropout: Gal, Islam & Ghahramani, Deep
Bayesian Active Learning with Image Data, ICML 2017 (arXiv 1703.02910):

    I(y; ω | x) = H[E p] − E H[p],   p of T passes, each with a dropout mask of its own

Dropout stands before the last layer, in training and in the T passes, which therefore
share all layers before it. Every image and pass has its own mask, as in the authors'
code. Evaluation and all other strategies use the network without dropout.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from aljax.machine.devices import cores

BLOCK = 1024  # images that a thread takes at a time


def mutual_information(stochastic_logits: np.ndarray) -> np.ndarray:
    """Mutual information of an image's class and the weights, in nats.

    As the mean divergence from the mean, E Σ p log p / E p: its terms are as small as
    it is itself, while the difference of two entropies is lost in their rounding.

    Args:
        stochastic_logits: `[N, T, K]`, of T passes.

    Returns:
        `[N]` float64 in 0…log K.
    """
    found = np.empty(len(stochastic_logits))

    def of_block(start: int) -> None:
        block = stochastic_logits[start : start + BLOCK].transpose(2, 1, 0)
        found[start : start + BLOCK] = _divergence(block.astype(np.float64, order="C"))

    with ThreadPoolExecutor(cores()) as threads:
        list(threads.map(of_block, range(0, len(found), BLOCK)))
    return np.maximum(found, 0)  # which rounding may not keep


def _divergence(z: np.ndarray) -> np.ndarray:
    """E Σ p log p / E p of logits `[K, T, n]`, which are overwritten."""
    z -= z.max(0)
    p = np.exp(z)
    others = _all_but_largest(p)
    z -= np.log1p(others)  # log p
    p *= 1 / (1 + others)
    mean = p.mean(1)
    # The likeliest class by what the others leave; no class has a log of −infinity.
    log_mean = np.log(np.where(mean > 0, mean, 1))
    of_likeliest = np.log1p(-_all_but_largest(mean))
    log_mean = np.where(mean == mean.max(0), of_likeliest, log_mean)
    z -= log_mean[:, None]
    p *= z
    return p.sum((0, 1)) / p.shape[1]


def _all_but_largest(p: np.ndarray) -> np.ndarray:
    """The sum over classes of all p but one of the largest, without subtracting."""
    largest, others = p[0].copy(), np.zeros_like(p[0])
    for row in p[1:]:
        others += np.minimum(row, largest)
        np.maximum(row, largest, out=largest)
    return others
