"""What else could choose the batch: papers' code re-stated, and scikit-activeml.

Each side takes the Pool and a clock, and returns positions among the candidates. Those
of `restated` follow the authors' code step by step, in PyTorch (or numpy and
scikit-learn where that does) on all cores, with what is easily spared spared: lengths
are measured once, a distance to one point is one product, gradients are not made where
`badge_factors` can do without. They call `clock(done, of)` after each step, which may
stop them; what such a side would have taken is then told by the steps it has done.
"""

import functools
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Pool(NamedTuple):
    """What a network says of the images."""

    embedding: np.ndarray  # [N, D] float32
    logits: np.ndarray  # [N, K]
    passes: np.ndarray  # [N, T, K]
    labelled_embedding: np.ndarray  # [L, D]
    labelled_logits: np.ndarray  # [L, K]
    budget: int


def _softmax(logits: np.ndarray) -> np.ndarray:
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def k_center(pool: Pool, clock: Callable) -> np.ndarray:
    """google/active-learning, sampling_methods/kcenter_greedy.py, in PyTorch."""
    import torch

    x, centres = torch.from_numpy(pool.embedding), pool.labelled_embedding
    lengths = (x * x).sum(1)
    nearest = torch.full_like(lengths, torch.inf)
    chosen = []
    for block in torch.from_numpy(centres).split(1024):
        squared = lengths[:, None] + (block * block).sum(1) - 2 * x @ block.T
        nearest = torch.minimum(nearest, squared.amin(1))
    for step in range(pool.budget):
        chosen.append(int(nearest.argmax()))
        squared = lengths + lengths[chosen[-1]] - 2 * (x @ x[chosen[-1]])
        nearest = torch.minimum(nearest, squared)
        nearest[chosen[-1]] = -1
        clock(step + 1, pool.budget)
    return np.array(chosen)


def _plus_plus(pool: Pool, lengths, products: Callable, clock: Callable) -> np.ndarray:
    """k-means++ of JordanAsh/badge, the longest first, with |a − b|² by products."""
    import torch

    generator = torch.Generator().manual_seed(0)
    chosen = [int(lengths.argmax())]
    nearest = torch.full_like(lengths, torch.inf)
    for step in range(1, pool.budget):
        last = chosen[-1]
        squared = lengths + lengths[last] - 2 * products(last)
        nearest = torch.minimum(nearest, squared.clamp(min=0))
        nearest[chosen] = 0
        total = nearest.cumsum(0, dtype=torch.float64)
        draw = total[-1] * torch.rand(1, generator=generator, dtype=torch.float64)
        chosen.append(int(torch.searchsorted(total, draw)[0]))
        clock(step + 1, pool.budget)
    return np.array(chosen)


def _factors(pool: Pool):
    import torch

    p = torch.from_numpy(pool.logits).softmax(1)
    q = p - torch.nn.functional.one_hot(p.argmax(1), p.shape[1])
    return q, torch.from_numpy(pool.embedding)


def badge(pool: Pool, clock: Callable) -> np.ndarray:
    """JordanAsh/badge, query_strategies/badge_sampling.py: gradients are made."""
    q, h = _factors(pool)
    g = (q[:, :, None] * h[:, None]).flatten(1)
    return _plus_plus(pool, (g * g).sum(1), lambda last: g @ g[last], clock)


def badge_factors(pool: Pool, clock: Callable) -> np.ndarray:
    """The same by the factors of the gradients."""
    q, h = _factors(pool)
    lengths = (q * q).sum(1) * (h * h).sum(1)
    return _plus_plus(pool, lengths, lambda last: (q @ q[last]) * (h @ h[last]), clock)


def bald(pool: Pool, clock: Callable) -> np.ndarray:
    """baal/active/heuristics/heuristics.py, in PyTorch."""
    import torch

    p = torch.from_numpy(pool.passes).softmax(-1)
    mean = p.mean(1)
    entropy_of_mean = -(mean * (mean + 1e-5).log()).sum(-1)
    mean_entropy = -(p * (p + 1e-5).log()).sum(-1).mean(1)
    return (entropy_of_mean - mean_entropy).topk(pool.budget).indices.numpy()


def bald_numpy(pool: Pool, clock: Callable) -> np.ndarray:
    """baal/active/heuristics/heuristics.py as it is, in numpy."""
    p = _softmax(pool.passes)
    mean = p.mean(1)
    entropy_of_mean = -(mean * np.log(mean + 1e-5)).sum(-1)
    mean_entropy = -(p * np.log(p + 1e-5)).sum(-1).mean(1)
    return np.argsort(mean_entropy - entropy_of_mean)[: pool.budget]


def _k_means(h: np.ndarray, clusters: int = 500) -> np.ndarray:
    """Clusters of scikit-learn, with the seeding and iterations of aljax."""
    from sklearn.cluster import KMeans

    means = KMeans(clusters, init="k-means++", n_init=1, max_iter=10, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        return means.fit_predict(h)


def _mini_batch_k_means(h: np.ndarray, clusters: int) -> np.ndarray:
    """As TypiClust's authors cluster: steps of 5,000 images, until they settle."""
    from sklearn.cluster import MiniBatchKMeans

    means = MiniBatchKMeans(clusters, batch_size=5000, random_state=0)
    return means.fit_predict(h)


def cluster_margin(pool: Pool, clock: Callable) -> np.ndarray:
    """k-means by scikit-learn; then in turn."""
    cluster = _k_means(pool.embedding)
    p = np.sort(_softmax(pool.logits), -1)
    kept = np.argsort(p[:, -1] - p[:, -2])[: int(1.25 * pool.budget)]
    members: dict[int, list[int]] = {}
    for x in np.random.default_rng(0).permutation(kept):
        members.setdefault(int(cluster[x]), []).append(int(x))
    queues, chosen = sorted(members.values(), key=len), []
    while len(chosen) < pool.budget:
        chosen += [queue.pop() for queue in queues if queue]
    return np.array(chosen[: pool.budget])


def typiclust(cluster_all: Callable, pool: Pool, clock: Callable) -> np.ndarray:
    """avihu111/TypiClust, deep-al/pycls/al/typiclust.py, with PyTorch for faiss."""
    import torch

    h = np.concatenate([pool.labelled_embedding, pool.embedding])
    labels = len(pool.labelled_embedding)
    cluster = cluster_all(h, min(labels + pool.budget, 500))
    names, sizes = np.unique(cluster, return_counts=True)
    counts = np.bincount(cluster[:labels], minlength=names.max() + 1)[names]
    large = sizes > 5
    order = names[large][np.lexsort((-sizes[large], counts[large]))]
    cluster = cluster.copy()
    cluster[:labels] = -1
    chosen = []
    for step in range(pool.budget):
        members = np.flatnonzero(cluster == order[step % len(order)])
        some = torch.from_numpy(h[members])
        near = min(20, len(members) // 2) + 1
        distances = torch.cdist(some, some).topk(near, largest=False).values[:, 1:]
        chosen.append(int(members[int(distances.mean(1).argmin())]))
        cluster[chosen[-1]] = -1
        clock(step + 1, pool.budget)
    return np.array(chosen) - labels


def bait(pool: Pool, clock: Callable) -> np.ndarray:
    """dal_toolbox/active_learning/strategies/bait.py, the binary form, rank 1."""
    import torch

    def factors(logits, h):
        sure = torch.from_numpy(logits).softmax(1).amax(1, keepdim=True)
        return (sure * (1 - sure)).sqrt() * torch.from_numpy(h)

    x = factors(pool.logits, pool.embedding)
    labelled = factors(pool.labelled_logits, pool.labelled_embedding)
    bought, budget, count = len(labelled), pool.budget, len(x)
    target = (x.T @ x + labelled.T @ labelled) / (count + bought)
    start = torch.eye(x.shape[1]) + labelled.T @ labelled / (bought + budget)
    inverse = torch.inverse(start)
    x = x * (budget / (bought + budget)) ** 0.5
    chosen: list[int] = []

    def effects(some, sign):
        half = some @ inverse
        inner = 1 / (sign + (half * some).sum(1))
        return (half @ target @ inverse * some).sum(1) * inner, inner

    for step in range(2 * budget):
        effect, inner = effects(x, 1)
        effect[chosen] = -torch.inf
        chosen.append(int(effect.argmax()))
        u = inverse @ x[chosen[-1]]
        inverse = inverse - torch.outer(u, u) * inner[chosen[-1]]
        clock(step + 1, 2 * budget)
    for _ in range(budget):
        effect, inner = effects(x[chosen], -1)
        place = int(effect.neg().argmin())
        u = inverse @ x[chosen[place]]
        inverse = inverse - torch.outer(u, u) * inner[place]
        del chosen[place]
    return np.array(chosen)


def _scikit(strategy: str, pool: Pool, clock: Callable) -> np.ndarray:
    """scikit-activeml's strategy of that name, on what the network says."""
    from skactiveml import pool as strategies
    from skactiveml.base import SkactivemlClassifier

    labels = len(pool.labelled_embedding)
    x = np.concatenate([pool.labelled_embedding, pool.embedding])
    y = np.append(pool.labelled_logits.argmax(1), np.full(len(pool.embedding), np.nan))

    class Answers(SkactivemlClassifier):
        """A network that has been asked already."""

        def __init__(self, missing_label=np.nan, classes=None, cost_matrix=None):
            super().__init__(classes, missing_label, cost_matrix, 0)

        def fit(self, X, y, sample_weight=None):
            return self

        def predict_proba(self, X):
            return _softmax(pool.logits)

    query = getattr(strategies, strategy)(random_state=0)
    more = {"clf": Answers(), "fit_clf": False} if strategy == "Badge" else {}
    return np.asarray(query.query(x, y, batch_size=pool.budget, **more)) - labels


# strategy -> side -> what chooses.
PEERS: dict[str, dict[str, Callable]] = {
    "k_center": {
        "restated": k_center,
        "scikit-activeml": functools.partial(_scikit, "CoreSet"),
    },
    "badge": {
        "restated": badge,
        "restated, by factors": badge_factors,
        "scikit-activeml": functools.partial(_scikit, "Badge"),
    },
    "bald": {"restated": bald, "restated, numpy": bald_numpy},
    "cluster_margin": {"restated": cluster_margin},
    "typiclust": {
        "restated": functools.partial(typiclust, _k_means),
        "restated, mini-batches": functools.partial(typiclust, _mini_batch_k_means),
        "scikit-activeml": functools.partial(_scikit, "TypiClust"),
    },
    "bait": {"restated": bait},
}
