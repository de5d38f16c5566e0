"""BALD by its definition, by hand, and where answers are sure."""

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

from aljax.strategies import STRATEGIES, mutual_information
from tests.support.queries import make_query, outputs


@pytest.mark.parametrize("classes", [2, 5])
def test_is_the_entropy_of_the_mean_less_the_mean_entropy(classes):
    logits = outputs(53, classes).stochastic_logits
    p = softmax(logits.astype(np.float64), -1)
    expected = entropy(p.mean(1), axis=-1) - entropy(p, axis=-1).mean(1)
    found = mutual_information(logits)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-15)
    chosen = STRATEGIES["bald"].select(make_query(outputs(53, classes), 53))
    assert chosen.tolist() == np.argsort(-expected).tolist()


def test_by_hand():
    """Sure passes that contradict each other, and unsure ones that agree."""
    contradict = [[500.0, 0.0], [0.0, 500.0]]
    agree = [[0.0, 0.0], [0.0, 0.0]]
    half = [[500.0, 0.0], [0.0, 0.0]]  # H of 3/4, less half of log 2
    found = mutual_information(np.float32([contradict, agree, half]))
    expected = entropy([0.75, 0.25]) - np.log(2) / 2
    np.testing.assert_allclose(found, [np.log(2), 0, expected], atol=1e-15)


def test_sure_passes_are_told_apart():
    """p of the second class is e^-50 or e^-60 in the first, e^-90 or e^-100 there."""
    sure = np.float32([[[50, 0], [60, 0]], [[90, 0], [100, 0]]])
    left = np.exp(-sure[:, :, 0].astype(np.float64))
    mean = left.mean(1, keepdims=True)
    expected = (left * np.log(left / mean)).mean(1)  # the first class cancels
    np.testing.assert_allclose(mutual_information(sure), expected, rtol=1e-6)
