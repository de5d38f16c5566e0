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

from aljax.strategies.scores import log_softmax


def mutual_information(stochastic_logits: np.ndarray) -> np.ndarray:
    """Mutual information of an image's class and the weights, in nats.

    As the mean divergence from the mean, E Σ p log p / E p: its terms are as small as
    it is itself, while the difference of two entropies is lost in their rounding.

    Args:
        stochastic_logits: `[N, T, K]`, of T passes.

    Returns:
        `[N]` float64 in 0…log K.
    """
    passes = np.asarray(stochastic_logits, np.float64)
    log_p = np.empty_like(passes)
    np.put_along_axis(log_p, passes.argsort(-1), log_softmax(passes), -1)
    mean = np.exp(log_p).mean(1)
    top = mean.argmax(-1)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        log_mean = np.log(mean)
        rest = mean.copy()
        np.put_along_axis(rest, top, 0, -1)
        # The likeliest class by what the others leave.
        np.put_along_axis(log_mean, top, np.log1p(-rest.sum(-1, keepdims=True)), -1)
        terms = np.exp(log_p) * (log_p - log_mean[:, None])
    # A class of probability 0 adds nothing; rounding must not make it negative.
    return np.maximum(np.nan_to_num(terms, nan=0.0).sum(-1).mean(1), 0)
