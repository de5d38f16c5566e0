"""What is measured of a network and of a run: arrays in, numbers out.

In float64, but for counts.
"""

import numpy as np
from scipy.special import logsumexp


def cross_entropies(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """−log softmax(logits)[label] of each image, in nats.

    Args:
        logits: `[N, K]`.
        labels: `[N]` int.

    Returns:
        `[N]`.
    """
    logits = logits.astype(np.float64)
    return logsumexp(logits, -1) - logits[np.arange(len(labels)), labels]


def confusion_matrix(
    labels: np.ndarray, predicted: np.ndarray, classes: int
) -> np.ndarray:
    """Counts `[K, K]` int64, rows true classes, columns predicted ones."""
    cells = labels.astype(np.int64) * classes + predicted
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def class_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Recall of each class `[K]`; NaN for a class without a test image."""
    images = confusion.sum(1)
    return np.divide(
        np.diag(confusion), images, out=np.full(len(images), np.nan), where=images > 0
    )


def f1_macro(confusion: np.ndarray) -> float:
    """Mean over classes of 2·TP / (2·TP + FP + FN); 0 for a class never predicted."""
    right = 2 * np.diag(confusion)
    total = confusion.sum(0) + confusion.sum(1)
    return float(
        np.divide(right, total, out=np.zeros(len(total)), where=total > 0).mean()
    )


def ranking_accuracy(losses: np.ndarray, predicted: np.ndarray) -> float:
    """Share of all pairs of images whose losses the predictions order rightly.

    Pairs of equal losses have no order and are left out; a pair of equal predictions is
    wrong. Counted through Kendall's τ_b, in N log N.

    Args:
        losses: true losses `[N]`.
        predicted: predicted losses `[N]`.

    Returns:
        A number in 0…1, or NaN where no pair has an order.
    """

    # Loading it takes a second, which a start can spare.
    from scipy.stats import kendalltau

    def tied(values):
        counts = np.unique(values, axis=0, return_counts=True)[1].astype(np.float64)
        return (counts * (counts - 1) / 2).sum()

    pairs = len(losses) * (len(losses) - 1) / 2
    ordered = pairs - tied(losses)
    if ordered == 0:
        return float("nan")
    split = pairs - tied(predicted)
    if split == 0:
        return 0.0
    lead = kendalltau(losses, predicted).statistic * np.sqrt(ordered * split)
    both = pairs - tied(losses) - tied(predicted)
    both += tied(np.stack([losses, predicted], -1))
    return float(round((both + lead) / 2) / ordered)


def reliability(
    logits: np.ndarray, labels: np.ndarray, bins: int = 15
) -> dict[str, list]:
    """How often a network is right, by how sure it is.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017: its confidence is
    the largest probability, and bin m of M holds the images with a confidence in
    ((m − 1)/M, m/M].

    Args:
        logits: `[N, K]`.
        labels: `[N]` int.
        bins: M, of equal width.

    Returns:
        Of each bin `images`, how many, and their mean `confidence` and `accuracy`, None
        where there is none.
    """
    logits = logits.astype(np.float64)
    predicted = logits.argmax(-1)
    sure = np.exp(-cross_entropies(logits, predicted))
    place = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    images = np.bincount(place, minlength=bins)
    means = {}
    for name, values in (("confidence", sure), ("accuracy", predicted == labels)):
        sums = np.bincount(place, weights=values, minlength=bins)
        means[name] = [
            float(total / count) if count else None
            for total, count in zip(sums, images, strict=True)
        ]
    return {"images": images.tolist(), **means}


def calibration_error(bins: dict[str, list]) -> float:
    """Expected calibration error: Σ images/N · |accuracy − confidence| over bins.

    Args:
        bins: from `reliability`.

    Returns:
        A fraction, 0 for a network that is as sure as it is right.
    """
    gaps = [
        count * abs(accuracy - confidence)
        for count, accuracy, confidence in zip(
            bins["images"], bins["accuracy"], bins["confidence"], strict=True
        )
        if count
    ]
    return float(sum(gaps) / sum(bins["images"]))


def label_efficiency(
    accuracy: float, labelled: int, first_accuracy: float, first: int, pool: int
) -> float | None:
    """Accuracy points gained since cycle 1 per percent of the pool labelled since.

    Args:
        accuracy: fraction, now.
        labelled: labels now.
        first_accuracy: fraction in cycle 1.
        first: labels in cycle 1.
        pool: N.

    Returns:
        Percentage points per percent of the pool; None in cycle 1.
    """
    if labelled == first:
        return None
    return (accuracy - first_accuracy) / ((labelled - first) / pool)


def aubc(labelled: np.ndarray, accuracies: np.ndarray) -> float:
    """Area under the budget curve: trapezoids of accuracy over labels, per label.

    Zhan et al., A Comparative Survey of Deep Active Learning, 2022 (arXiv 2203.13450).

    Args:
        labelled: `[cycles]` labels, ascending.
        accuracies: `[cycles]` fractions.

    Returns:
        A fraction; the accuracy itself where there is one cycle only.
    """
    labelled = np.asarray(labelled, np.float64)
    if len(labelled) == 1:
        return float(accuracies[0])
    return float(np.trapezoid(accuracies, labelled) / (labelled[-1] - labelled[0]))


def _known(number: float) -> float | None:
    return None if np.isnan(number) else float(number)


def evaluate(
    logits: np.ndarray, predicted_loss: np.ndarray | None, labels: np.ndarray
) -> dict:
    """Everything that one test set says of one network.

    Args:
        logits: `[N, K]`.
        predicted_loss: `[N]`, or None without a loss prediction module.
        labels: `[N]` int32.

    Returns:
        The row fields `test_accuracy`, `test_loss`, `f1_macro`, `class_accuracy`,
        `confusion`, `loss_ranking_accuracy`, `calibration_error` and `reliability`;
        numbers and lists, unknown is None.
    """
    losses = cross_entropies(logits, labels)
    confusion = confusion_matrix(labels, logits.argmax(-1), logits.shape[-1])
    bins = reliability(logits, labels)
    ranking = np.nan
    if predicted_loss is not None:
        ranking = ranking_accuracy(losses, predicted_loss)
    return {
        "test_accuracy": float(np.diag(confusion).sum() / confusion.sum()),
        "test_loss": float(losses.mean()),
        "f1_macro": f1_macro(confusion),
        "class_accuracy": [_known(x) for x in class_accuracy(confusion)],
        "confusion": confusion.tolist(),
        "loss_ranking_accuracy": _known(ranking),
        "calibration_error": calibration_error(bins),
        "reliability": bins,
    }
