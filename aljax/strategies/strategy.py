"""What a strategy is, what it is given, and what its answer must be."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields

import numpy as np

from aljax.lookup import check_name
from aljax.machine.devices import Devices, choose_devices
from aljax.strategies.options import Options


@dataclass(frozen=True)
class Outputs:
    """What a network says of some images; None where the strategy did not ask."""

    logits: np.ndarray | None = None  # [N, K] float32
    predicted_loss: np.ndarray | None = None  # [N] float32
    embedding: np.ndarray | None = None  # [N, D] float32
    stochastic_logits: np.ndarray | None = None  # [N, T, K] float32, T dropout passes


@dataclass(frozen=True)
class Query:
    """One question to a strategy, and all that it may use to answer.

    Attributes:
        candidates: what the network says of the images to choose from.
        count: N, of candidates.
        budget: how many to choose, at most N.
        random: the only source of chance; draws end in the same choice every time.
        labelled: what the network says of the labelled images, in the order they were
            bought; None where the strategy did not ask.
        options: `config.query`.
        devices: where a program over many rows runs, see `placing`.
        check: called now and then between pieces of work; may raise to stop.
        most_candidates: N of the largest query of the run, so that programs are
            compiled for all of them; 0: as many as there are.
        most_labelled: the same for the labelled images.
    """

    candidates: Outputs
    count: int
    budget: int
    random: np.random.Philox
    labelled: Outputs | None = None
    options: Options = field(default_factory=Options)
    devices: Devices = field(default_factory=lambda: choose_devices(1))
    check: Callable[[], None] = lambda: None
    most_candidates: int = 0
    most_labelled: int = 0


@dataclass(frozen=True)
class Strategy:
    """A way to choose images.

    Attributes:
        select: Query -> `[budget]` positions among its candidates, best first.
        needs: names of the fields of Outputs it reads of the candidates, and "labelled"
            if it reads those of the labelled images too.
        score: what it thinks of each candidate, `[N]`, larger = more wanted, kept with
            what is bought; None where it has no score for an image alone.
        draws: whether `select` draws by the score where `config.query.noise` says so.
    """

    select: Callable[[Query], np.ndarray]
    needs: frozenset[str] = frozenset()
    score: Callable[[Outputs], np.ndarray] | None = None
    draws: bool = False

    def __post_init__(self):
        known = (*(f.name for f in fields(Outputs)), "labelled")
        for name in self.needs:
            check_name(known, "Strategy.needs", name)

    @property
    def stochastic(self) -> bool:
        """Whether it reads passes with dropout, which the network then has."""
        return "stochastic_logits" in self.needs


def shuffled(random: np.random.Philox, count: int, budget: int) -> np.ndarray:
    """`budget` of `count` positions, uniformly, without replacement.

    Sorts raw random words, a stream that numpy promises never to change.
    """
    return np.argsort(random.random_raw(count), kind="stable")[:budget]


def highest(scores: np.ndarray, budget: int, random: np.random.Philox) -> np.ndarray:
    """Positions of the `budget` highest of `scores` `[N]`, equal ones in any order.

    The order of equal scores is drawn: a pool sorted by class would else be bought
    class by class.
    """
    # Whole numbers and truth values have no negative that sorts them backwards.
    draws, wanted = random.random_raw(len(scores)), -np.asarray(scores, np.float64)
    last = np.partition(wanted, budget - 1)[budget - 1]
    enough = np.flatnonzero(~(wanted > last))  # of some that tie with it, too many
    return enough[np.lexsort((draws[enough], wanted[enough]))[:budget]]


def check_scores(name: str, scores: np.ndarray, count: int) -> np.ndarray:
    """Checks what a strategy thinks of `count` images, before anything is bought.

    Returns:
        scores `[count]`.

    Raises:
        ValueError: names the strategy and what is wrong with its scores.
    """
    scores = np.asarray(scores)
    if scores.shape != (count,):
        wrong = f"scores of shape {scores.shape}"
    elif scores.dtype.kind in "OUSMmc":  # nor numbers nor truth values
        wrong = f"scores of type {scores.dtype}"
    elif not np.isfinite(scores).all():
        place = np.flatnonzero(~np.isfinite(scores))[0]
        wrong = f"the score {scores[place]} (at position {place})"
    else:
        return scores
    raise ValueError(
        f"--config.strategy: {name} answered with {wrong}; it must give a "
        f"finite number for each of {count} images. Nothing was bought."
    )


def check_choice(name: str, chosen: np.ndarray, count: int, budget: int) -> np.ndarray:
    """Checks a strategy's answer, before anything is bought.

    Args:
        name: of the strategy.
        chosen: its answer.
        count: of candidates.
        budget: how many it was asked for.

    Returns:
        `[budget]` int64.

    Raises:
        ValueError: names the strategy and what is wrong with its answer.
    """
    chosen = np.asarray(chosen)
    if chosen.shape != (budget,):
        wrong = f"an array of shape {chosen.shape}"
    elif not np.issubdtype(chosen.dtype, np.integer):
        wrong = f"numbers of type {chosen.dtype}"
    elif chosen.min(initial=0) < 0 or chosen.max(initial=0) >= count:
        outside = chosen[(chosen < 0) | (chosen >= count)][0]
        wrong = f"position {outside}"
    elif len(np.unique(chosen)) < budget:
        values, times = np.unique(chosen, return_counts=True)
        wrong = f"position {values[times > 1][0]} more than once"
    else:
        return chosen.astype(np.int64)
    raise ValueError(
        f"--config.strategy: {name} answered with {wrong}; it must give {budget} "
        f"different positions, integers from 0 to {count - 1}. Nothing was bought."
    )
