"""Queries for strategies: small pools of many kinds, and chance that images own."""

import dataclasses
import functools

import numpy as np

from aljax.strategies import Options, Outputs, Query

ROOM = 64  # rows laid out for every small pool, so that programs are shared
DIMENSIONS, PASSES = 6, 4


def outputs(count: int, classes: int = 5, seed: int = 0) -> Outputs:
    """What a network might say of `count` images."""
    random = np.random.default_rng((count, seed))

    def normal(*shape):
        return random.normal(0, 2, (count, *shape)).astype(np.float32)

    return Outputs(
        logits=normal(classes),
        predicted_loss=normal(),
        embedding=normal(DIMENSIONS),
        stochastic_logits=normal(PASSES, classes),
    )


def rows(some: Outputs, which) -> Outputs:
    """The outputs of some of the images."""
    fields = {name: array[which] for name, array in vars(some).items()}
    return Outputs(**fields)


def make_query(
    candidates: Outputs | None = None,
    budget: int = 10,
    labelled: Outputs | None = None,
    seed: int = 0,
    **more,
) -> Query:
    """A query of 53 candidates and 9 labelled images, or of those that are given."""
    candidates = outputs(53) if candidates is None else candidates
    classes = candidates.logits.shape[-1]
    options = more.pop("options", Options())
    given = dict(
        candidates=candidates,
        count=len(candidates.logits),
        budget=budget,
        random=np.random.Philox(key=seed),
        labelled=outputs(9, classes, 1) if labelled is None else labelled,
        options=options,
        most_candidates=ROOM,
        most_labelled=ROOM,
    )
    return Query(**(given | more))


def _copies(different: int, count: int, budget: int, **more) -> Query:
    """A pool of copies of a few images."""
    some = rows(outputs(different), np.arange(count) % different)
    return make_query(some, budget, **more)


def _grid(**more) -> Query:
    """Coordinates of which many distances are equal."""
    some = outputs(49)
    steps = np.stack(np.divmod(np.arange(49), 7), -1).astype(np.float32)
    embedding = np.pad(steps, ((0, 0), (0, DIMENSIONS - 2)))
    return make_query(dataclasses.replace(some, embedding=embedding), 20, **more)


def _class_missing(**more) -> Query:
    """No image is taken for the first class, and some answers are all but certain."""
    some = outputs(53)
    logits = some.logits - np.float32([60, 0, 0, 0, 0])
    logits[:9, 1] += 30
    return make_query(dataclasses.replace(some, logits=logits), 20, **more)


POOLS = {
    "plain": functools.partial(make_query, budget=20),
    "one bought": functools.partial(make_query, budget=1),
    "all bought": lambda **more: make_query(outputs(24), 24, **more),
    "none labelled": lambda **more: make_query(None, 20, outputs(0), **more),
    "two classes": lambda **more: make_query(outputs(53, 2), 20, **more),
    "class missing": _class_missing,
    "duplicates": functools.partial(_copies, 13, 39, 20),
    "all the same": functools.partial(_copies, 1, 20, 10),
    "equal distances": _grid,
}


class Attached:
    """Random words that belong to images, whatever the order these come in."""

    def __init__(self, order: np.ndarray, labelled: int):
        self.order, self.labelled, self.calls = order, labelled, 0

    def random_raw(self, size: int) -> np.ndarray:
        self.calls += 1
        words = np.random.Philox(key=self.calls).random_raw(size)
        first = {len(self.order): 0, len(self.order) + self.labelled: self.labelled}
        if size in first:
            start = first[size]
            words = np.concatenate([words[:start], words[start:][self.order]])
        return words
