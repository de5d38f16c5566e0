"""BALD: images on which networks that dropout draws disagree.

Houlsby et al., Bayesian Active Learning for Classification and Preference Learning,
2011 (arXiv 1112.5745); for networks with dropout: Gal, Islam & Ghahramani, Deep
Bayesian Active Learning with Image Data, ICML 2017 (arXiv 1703.02910):

    I(y; ω | x) = H[E p] − E H[p],   p of T passes, each with a dropout mask of its own

Dropout stands before the last layer, in training and in the T passes, which therefore
share all layers before it. Every image and pass has its own mask, as in the authors'
code. Evaluation and all other strategies use the network without dropout.
"""

import numpy as np

BLOCK = 256  # images at a time: what a core's cache holds


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
    for start in range(0, len(found), BLOCK):
        block = stochastic_logits[start : start + BLOCK].transpose(2, 1, 0)
        found[start : start + BLOCK] = _divergence(block.astype(np.float64, order="C"))
    return np.maximum(found, 0)  # which rounding may not keep


def _divergence(z: np.ndarray) -> np.ndarray:
    """E Σ p log p / E p of logits `[K, T, n]`, which are overwritten."""
    z -= z.max(0)
    p = np.exp(z)
    rest = _others(p, np.float64(1))
    z -= np.log1p(rest)  # log p
    p /= 1 + rest
    mean = p.mean(1)
    largest = mean.max(0)
    # The likeliest class by what the others leave; no class has a log of −infinity.
    log_mean = np.log(np.where(mean > 0, mean, 1))
    log_mean = np.where(mean == largest, np.log1p(-_others(mean, largest)), log_mean)
    z -= log_mean[:, None]
    return (p * z).sum((0, 1)) / p.shape[1]


def _others(p: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """The sum over classes of all p but one of the largest, without subtracting."""
    return np.where(p < largest, p, 0).sum(0) + ((p == largest).sum(0) - 1) * largest
