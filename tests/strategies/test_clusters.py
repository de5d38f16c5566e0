"""k-means finds what is there, and stays where Lloyd's algorithm would."""

import numpy as np
import pytest

from aljax.machine.devices import choose_devices
from aljax.strategies import clusters
from aljax.strategies.placing import room


def k_means(rows, count, seed=0, laid_out=0):
    devices = choose_devices(1)
    size = room(max(len(rows), laid_out), devices)
    return clusters.k_means(
        rows, count, size, np.uint32(seed), devices, check=lambda: None
    )


def blobs(count, each, random):
    centres = random.normal(0, 20, (count, 4))
    true = np.repeat(np.arange(count), each)
    rows = centres[true] + random.normal(0, 0.1, (count * each, 4))
    return rows.astype(np.float32), true


@pytest.mark.parametrize("seed", range(3))
def test_finds_groups_that_are_far_apart(seed):
    rows, true = blobs(6, 20, np.random.default_rng(seed))
    order = np.random.default_rng(9).permutation(len(rows))
    found = k_means(rows[order], 6, seed)
    pairs = set(zip(found.tolist(), true[order].tolist(), strict=True))
    assert len(pairs) == 6


def test_ends_where_no_image_is_nearer_to_another_mean():
    rows = np.random.default_rng(1).normal(size=(60, 3)).astype(np.float32)
    found = k_means(rows, 4, laid_out=200)
    assert sorted(set(found.tolist())) == [0, 1, 2, 3]
    means = np.stack([rows[found == c].mean(0) for c in range(4)])
    squared = ((rows[:, None] - means) ** 2).sum(-1)
    assert squared.argmin(1).tolist() == found.tolist()


@pytest.mark.parametrize("count", [1, 12])
def test_as_few_and_as_many_clusters_as_can_be(count):
    rows = np.random.default_rng(1).normal(size=(12, 3)).astype(np.float32)
    assert len(set(k_means(rows, count).tolist())) == count


def test_copies_leave_clusters_empty():
    rows = np.repeat(np.float32([[0, 0], [5, 5]]), 10, 0)
    found = k_means(rows, 4)
    assert len(found) == 20 and set(found.tolist()) <= {0, 1, 2, 3}
    assert found[0] != found[-1] and len(set(found[:10].tolist())) == 1


def test_more_rows_than_a_tile():
    rows, true = blobs(3, 1500, np.random.default_rng(0))
    found = k_means(rows, 3)
    assert len(set(zip(found.tolist(), true.tolist(), strict=True))) == 3


def test_hierarchy_by_hand():
    """On a line: 0, 1 | 4, 5.5 | 20. Average distances join them in this order."""
    line = np.float32([[0], [20], [1], [4], [5.5]])
    expected = {1: [0, 0, 0, 0, 0], 2: [0, 1, 0, 0, 0], 3: [0, 1, 0, 2, 2]}
    for count, groups in expected.items():
        found = clusters.hierarchy(line, count)
        same = found[:, None] == found
        wanted = np.array(groups)[:, None] == np.array(groups)
        assert same.tolist() == wanted.tolist()
    assert clusters.hierarchy(line[:1], 5).tolist() == [0]
