"""Metrics agree with scikit-learn, or with counts made by hand."""

import json

import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics as sk

from aljax import metrics

CLASSES = 5


def answers(seed: int):
    """Class 3 has no test image; class 4 is never predicted."""
    random = np.random.default_rng(seed)
    labels = random.choice([0, 1, 2, 4], 203).astype(np.int32)
    logits = random.normal(0, 3, (203, CLASSES)).astype(np.float32)
    logits[:, 4] = -20
    return logits, labels, logits.argmax(-1)


@pytest.mark.parametrize("seed", range(3))
def test_confusion_recall_f1_and_loss_as_scikit_learn(seed):
    logits, labels, predicted = answers(seed)
    confusion = metrics.confusion_matrix(labels, predicted, CLASSES)
    every = list(range(CLASSES))
    expected = sk.confusion_matrix(labels, predicted, labels=every)
    np.testing.assert_array_equal(confusion, expected)
    recall = sk.recall_score(
        labels, predicted, labels=every, average=None, zero_division=np.nan
    )
    assert np.isnan(recall[3]) and recall[4] == 0
    np.testing.assert_allclose(metrics.class_accuracy(confusion), recall)
    f1 = sk.f1_score(labels, predicted, labels=every, average="macro", zero_division=0)
    assert metrics.f1_macro(confusion) == pytest.approx(f1, rel=1e-12)
    loss = sk.log_loss(labels, softmax(logits.astype(np.float64), -1), labels=every)
    assert metrics.cross_entropies(logits, labels).mean() == pytest.approx(loss)


def test_f1_of_a_class_in_neither_labels_nor_answers_is_0():
    assert metrics.f1_macro(np.array([[3, 0], [0, 0]])) == 0.5


def test_cross_entropies_of_extreme_logits_are_finite():
    logits = np.array([[1000.0, 0.0], [1000.0, 0.0]], np.float32)
    losses = metrics.cross_entropies(logits, np.array([0, 1]))
    np.testing.assert_array_equal(losses, [0.0, 1000.0])


def brute_force(losses, predicted) -> float:
    right = pairs = 0
    for i in range(len(losses)):
        for j in range(i):
            if losses[i] != losses[j]:
                pairs += 1
                right += (losses[i] > losses[j]) == (predicted[i] > predicted[j]) and (
                    predicted[i] != predicted[j]
                )
    return right / pairs


@pytest.mark.parametrize("levels", [2, 7, 10**6], ids=["many ties", "ties", "none"])
@pytest.mark.parametrize("images", [2, 3, 83])
def test_ranking_accuracy_is_the_share_of_pairs_in_order(images, levels):
    random = np.random.default_rng((images, levels))
    losses, predicted = random.integers(0, levels, (2, images)) / 4
    losses[:2] = 0, 1
    expected = brute_force(losses, predicted)
    measured = metrics.ranking_accuracy(losses, predicted.astype(np.float32))
    assert measured == pytest.approx(expected, abs=1e-12)


def test_ranking_accuracy_where_there_is_no_order():
    assert metrics.ranking_accuracy(np.array([1.0, 2.0]), np.array([3.0, 3.0])) == 0
    assert np.isnan(metrics.ranking_accuracy(np.array([1.0, 1.0]), np.array([1, 2])))
    assert np.isnan(metrics.ranking_accuracy(np.array([1.0]), np.array([1.0])))


def logits_of(confidences, predicted, classes: int = 2) -> np.ndarray:
    """Logits whose softmax gives the predicted class this probability."""
    rest = (1 - np.array(confidences)) / (classes - 1)
    p = np.repeat(rest[:, None], classes, 1)
    p[np.arange(len(p)), predicted] = confidences
    with np.errstate(divide="ignore"):
        return np.log(p)


def test_reliability_by_hand():
    # Four bins of 0.25: 0.6 and 0.7 are in the third, 0.8, 0.9 and 1.0 in the last.
    confidences, predicted = [0.6, 0.7, 0.8, 0.9, 1.0], np.array([0, 1, 0, 1, 0])
    labels = np.array([0, 0, 0, 1, 1])
    bins = metrics.reliability(logits_of(confidences, predicted), labels, bins=4)
    assert bins["images"] == [0, 0, 2, 3]
    assert bins["confidence"] == [None, None, pytest.approx(0.65), pytest.approx(0.9)]
    assert bins["accuracy"] == [None, None, 0.5, pytest.approx(2 / 3)]
    # (2·0.15 + 3·(0.9 − 2/3)) / 5
    assert metrics.calibration_error(bins) == pytest.approx(0.2)


def test_reliability_of_a_bound_belongs_to_the_bin_below():
    logits = np.zeros((4, 2), np.float32)  # all are 0.5 sure
    bins = metrics.reliability(logits, np.array([0, 1, 1, 1]), bins=2)
    assert bins["images"] == [4, 0] and bins["accuracy"] == [0.25, None]
    assert metrics.calibration_error(bins) == pytest.approx(0.25)


def test_calibration_error_agrees_with_a_loop_over_bins():
    logits, labels, predicted = answers(2)
    p = softmax(logits.astype(np.float64), -1).max(-1)
    expected = 0.0
    for low in range(15):
        inside = (p > low / 15) & (p <= (low + 1) / 15)
        if inside.any():
            gap = (predicted == labels)[inside].mean() - p[inside].mean()
            expected += inside.mean() * abs(gap)
    bins = metrics.reliability(logits, labels)
    assert sum(bins["images"]) == len(labels) and len(bins["images"]) == 15
    assert metrics.calibration_error(bins) == pytest.approx(expected, rel=1e-12)


def test_reliability_of_extreme_logits():
    logits = np.array([[1e4, 0.0], [-1e4, 0.0]], np.float32)
    bins = metrics.reliability(logits, np.array([0, 0]))
    assert bins["images"][-1] == 2 and bins["confidence"][-1] == 1.0
    assert metrics.calibration_error(bins) == 0.5


def test_label_efficiency():
    # 10 points for 2,000 of 10,000 images: half a point per percent.
    assert metrics.label_efficiency(0.6, 3000, 0.5, 1000, 10_000) == pytest.approx(0.5)
    assert metrics.label_efficiency(0.45, 1500, 0.5, 1000, 10_000) == pytest.approx(-1)
    assert metrics.label_efficiency(0.5, 1000, 0.5, 1000, 10_000) is None


def test_aubc():
    # Trapezoids of 30 and 100 over 300 labels.
    area = metrics.aubc(np.array([100, 200, 400]), np.array([0.2, 0.4, 0.6]))
    assert area == pytest.approx(130 / 300)
    assert metrics.aubc(np.array([100]), np.array([0.7])) == 0.7


def test_evaluate_gives_row_fields_that_json_takes():
    logits, labels, predicted = answers(0)
    row = metrics.evaluate(logits, None, labels)
    json.dumps(row, allow_nan=False)
    assert row["test_accuracy"] == pytest.approx((predicted == labels).mean())
    assert row["loss_ranking_accuracy"] is None
    assert row["class_accuracy"][3] is None and row["class_accuracy"][4] == 0
    assert np.sum(row["confusion"]) == 203
    assert row["reliability"] == metrics.reliability(logits, labels)
    assert 0 < row["calibration_error"] < 1


def test_evaluate_ranks_true_losses():
    logits, labels, _ = answers(1)
    losses = metrics.cross_entropies(logits, labels)
    row = metrics.evaluate(logits, -losses, labels)
    assert row["loss_ranking_accuracy"] == 0
    assert metrics.evaluate(logits, losses, labels)["loss_ranking_accuracy"] == 1
