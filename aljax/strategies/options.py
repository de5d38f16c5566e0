"""What a person may set of a query: the fields of `config.query`."""

from dataclasses import dataclass

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
