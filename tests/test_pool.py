"""The pool remembers purchases in order, and refuses those that cannot be."""

import numpy as np
import pytest

from aljax.pool import Pool


def test_purchases_are_kept_in_order():
    pool = Pool(7).label(np.array([5, 0])).label(np.array([3]))
    assert pool.labelled.tolist() == [5, 0, 3]
    assert pool.unlabelled.tolist() == [1, 2, 4, 6]
    assert len(pool.labelled) == 3 and pool.labelled.dtype == np.int64


def test_label_leaves_the_pool_it_was_asked_of_alone():
    before = Pool(7).label(np.array([5, 0]))
    bought = np.array([3, 1])
    after = before.label(bought)
    bought[:] = 6
    assert before.labelled.tolist() == [5, 0]
    assert after.labelled.tolist() == [5, 0, 3, 1]
    with pytest.raises(AttributeError):
        before.size = 8


def test_all_can_be_bought_and_nothing_may_be():
    pool = Pool(3).label(np.array([2, 0, 1]))
    assert pool.unlabelled.tolist() == []
    assert pool.label(np.array([])).labelled.tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    "indices, reason",
    [
        ([1, 2, 1], "bought twice"),
        ([1, 7], "outside the pool of 7"),
        ([-1], "outside the pool of 7"),
        ([6, 5], "already labelled"),
    ],
)
def test_refuses(indices, reason):
    pool = Pool(7).label(np.array([5, 0]))
    with pytest.raises(ValueError, match=reason):
        pool.label(np.array(indices))
    assert pool.labelled.tolist() == [5, 0]
