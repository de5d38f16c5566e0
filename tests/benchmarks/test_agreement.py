"""What the benchmark of agreement calls an error."""

import numpy as np
import pytest

from benchmarks.agreement import NUMBERS, SIDES, error, errors, summary


def test_error_is_the_largest_share_of_the_largest():
    assert error([1.0, -3.0, 2.0], np.array([1.0, -4.0, 2.5])) == 0.25
    assert error([0.5], np.array([0.0]), np.array([-2.0])) == 0.25
    assert error([0.0], np.array([0.0])) == 0


def answer(logit, joint, first, second):
    gradients = {("a",): np.array([first]), ("b",): np.array([second])}
    return {"logits": np.array([logit]), "joint": joint, "gradients": gradients}


def test_gradients_of_rounding_alone_have_no_share_of_themselves():
    terms = {("a",): np.array([10.0]), ("b",): np.array([4.0])}
    exact = answer(4.0, np.float64(2.0), 1.0, 1e-7) | {"terms": terms}
    found = errors(answer(5.0, np.float64(2.5), 1.5, 2.0), exact)
    assert found == {
        "logits": 0.25,
        "loss": 0.25,
        "gradient": 0.5,
        "gradient_median": 0.5,
        "terms": pytest.approx(0.5),
        "terms_median": pytest.approx(0.275),  # of 0.05 and 0.5
    }


def test_summary_gives_median_and_range():
    rounds = [{s: dict.fromkeys(NUMBERS, v) for s in SIDES} for v in (3.0, 1.0, 7.0)]
    for numbers in summary(rounds).values():
        for number in NUMBERS:
            assert numbers[number] == {"median": 3.0, "range": [1.0, 7.0]}
