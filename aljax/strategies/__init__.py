"""Query strategies: what a network says of unlabelled images in, a batch of them out.

A strategy knows no model and no dataset. It declares what it `needs`, and the loop
computes only that; `Query` is what it is given. Of equals, the generator of the run
decides.

    scores          entropy, least confidence, margin, learning loss: a score per image
    bald            the same of networks drawn by dropout
    noise           stochastic batches by any score
    k_center        far from all that is labelled or chosen
    badge           k-means++ on gradients
    cluster_margin  small margins from many clusters
    typiclust       typical images of clusters without labels
    bait            Fisher information

Those that look at the whole batch stand on `distances`, `seeding` and `clusters`, whose
rows `placing` lays on the devices.
"""

from aljax.strategies import badge, bait, cluster_margin, k_center, typiclust
from aljax.strategies.bald import mutual_information
from aljax.strategies.options import FISHERS, NOISES, Options
from aljax.strategies.scores import (
    by_score,
    entropy,
    least_confidence,
    log_entropy,
    log_odds_against,
    log_odds_of_tie,
    margin,
    predicted_loss,
)
from aljax.strategies.strategy import (
    Outputs,
    Query,
    Strategy,
    check_choice,
    check_scores,
    highest,
    shuffled,
)

__all__ = [
    "FISHERS",
    "NOISES",
    "STRATEGIES",
    "Options",
    "Outputs",
    "Query",
    "Strategy",
    "by_score",
    "check_choice",
    "check_scores",
    "entropy",
    "highest",
    "least_confidence",
    "margin",
    "mutual_information",
    "predicted_loss",
    "shuffled",
]


def _random(query: Query):
    return shuffled(query.random, query.count, query.budget)


def _batch(select, *needs: str) -> Strategy:
    return Strategy(select, frozenset(needs))


STRATEGIES = {
    "random": Strategy(_random),
    "entropy": by_score(entropy, "logits", log_entropy, least=0),
    "least_confidence": by_score(least_confidence, "logits", log_odds_against, least=0),
    "margin": by_score(margin, "logits", log_odds_of_tie, least=-1),
    "learning_loss": by_score(predicted_loss, "predicted_loss"),
    "bald": by_score(mutual_information, "stochastic_logits", least=0),
    "k_center": _batch(k_center.select, "embedding", "labelled"),
    "badge": _batch(badge.select, "logits", "embedding"),
    "cluster_margin": _batch(cluster_margin.select, "logits", "embedding"),
    "typiclust": _batch(typiclust.select, "embedding", "labelled"),
    "bait": _batch(bait.select, "logits", "embedding", "labelled"),
}
