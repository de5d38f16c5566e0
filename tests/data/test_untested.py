"""Classes without a test image: who says so, and what their F1 is."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from aljax import metrics
from tests.support.pictures import encoded, load, plant

POOL = {f"train/{name}/1.png": encoded() for name in ("ant", "bee", "cat", "dog")}


@pytest.mark.parametrize(
    "tested, untested, said",
    [
        (("bee", "dog"), ("ant", "cat"), "of 2 of 4 classes (ant, cat): their"),
        (("ant", "bee", "cat"), ("dog",), "of 1 of 4 classes (dog): their"),
        (("ant", "bee", "cat", "dog"), (), None),
    ],
)
def test_a_warning_names_them(tmp_path, warnings_said, tested, untested, said):
    files = {f"test/{name}/1.png": encoded() for name in tested}
    path = plant(tmp_path / "x", POOL | files)
    for time in (1, 2):  # from the cache, too
        assert load(path).untested == untested
        assert len(warnings_said) == (time if said else 0)
    for warning in warnings_said:
        assert warning == (
            f"The test set has no image {said} accuracy is unknown, and their F1 "
            "counts as 0 in f1_macro."
        )


def test_many_are_counted(tmp_path, warnings_said):
    pool = {f"train/{number}/1.png": encoded() for number in range(9)}
    load(plant(tmp_path / "x", pool | {"test/8/1.png": encoded()}))
    assert "of 8 of 9 classes (0, 1, 2, 3, 4 and 3 more): their" in warnings_said[0]


@pytest.mark.parametrize("predicted", [[0, 0, 1], [0, 2, 1], [2, 2, 2]])
def test_their_f1_counts_as_zero(predicted):
    """Class 2 has no test image: right about all others, F1 is 2/3."""
    labels = np.array([0, 0, 1])
    confusion = metrics.confusion_matrix(labels, np.array(predicted), 3)
    expected = f1_score(
        labels, predicted, labels=range(3), average="macro", zero_division=0
    )
    assert metrics.f1_macro(confusion) == pytest.approx(expected, abs=1e-15)
    if predicted == [0, 0, 1]:
        assert expected == pytest.approx(2 / 3)
    assert np.isnan(metrics.class_accuracy(confusion)[2])
