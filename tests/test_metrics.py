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


def test_evaluate_ranks_true_losses():
    logits, labels, _ = answers(1)
    losses = metrics.cross_entropies(logits, labels)
    row = metrics.evaluate(logits, -losses, labels)
    assert row["loss_ranking_accuracy"] == 0
    assert metrics.evaluate(logits, losses, labels)["loss_ranking_accuracy"] == 1
