"""What a person may set of a query: the fields of `config.query`."""

from dataclasses import dataclass

from aljax.lookup import check_name

NOISES = ("none", "power", "softmax", "softrank")
FISHERS = ("auto", "full", "binary")


@dataclass
class Options:
    """Settings of query strategies; each says which of them read it."""

    noise: str = "none"  # of every score: none, power, softmax or softrank
    beta: float = 1.0  # of the noise: the larger, the nearer to the highest scores
    passes: int = 20  # T, of bald: networks drawn by dropout
    dropout: float = 0.5  # of bald: share of the embedding that a pass leaves out
    clusters: int = 500  # of cluster_margin and typiclust: at most so many
    oversample: float = 1.25  # of cluster_margin: smallest margins kept per purchase
    neighbours: int = 20  # of typiclust: nearest images that make one typical
    fisher: str = "auto"  # of bait: full, binary, or full where that is small
    regularisation: float = 1.0  # λ, of bait


# (field, test, what is allowed); types and signs are checked with all other fields.
_RANGES = (
    ("beta", lambda x: 0 < x < float("inf"), "above 0"),
    ("passes", lambda x: x >= 2, "at least 2, since passes are compared"),
    ("dropout", lambda x: 0 < x < 1, "between 0 and 1"),
    ("clusters", lambda x: x >= 1, "at least 1"),
    ("oversample", lambda x: 1 <= x < float("inf"), "at least 1"),
    ("neighbours", lambda x: x >= 1, "at least 1"),
    ("regularisation", lambda x: 0 < x < float("inf"), "above 0"),
)


def check_options(options: Options) -> None:
    """Checks the values, once their types are right.

    Raises:
        ValueError: names the field, the value and what is allowed.
    """
    check_name(NOISES, "--config.query.noise", options.noise)
    check_name(FISHERS, "--config.query.fisher", options.fisher)
    for name, allowed, words in _RANGES:
        value = getattr(options, name)
        if not allowed(value):
            raise ValueError(
                f"--config.query.{name}: {value} is not possible; it must be {words}."
            )
