"""BAIT: the batch that leaves the least Fisher information of the pool unexplained.

Ash et al., Gone Fishing: Neural Active Learning with Fisher Embeddings, NeurIPS 2021
(arXiv 2106.09675), algorithm 1: minimise tr((M + Σ I(x))⁻¹ F) over the batch, with

    I(x) = Σ_c p_c g_c g_cᵀ = V Vᵀ,  with (e_c − p) ⊗ h for g_c, a gradient of log p_c
    F    the mean of I over labelled images and candidates
    M    λ + L/(L + b) · mean of I over the L labelled images, b the budget

greedily: 2b images are added, each the one that lowers the trace most, then b are taken
away, each the one that raises it least. One image more or less is a change of low rank
(Woodbury): with S = Vᵀ A⁻¹ V, T = Vᵀ A⁻¹ F A⁻¹ V the trace falls by tr(T (1 + S)⁻¹), or
rises by tr(T (1 − S)⁻¹), and S and T of every candidate are corrected by products with
few columns. Constants are those of the authors' code (JordanAsh/badge,
query_strategies/bait_sampling.py), which scales V by √(b/(L + b)).

Two forms, `config.query.fisher`. `full` is the one above; A has K·D rows. `binary` is
that of Huseljic et al., Fast Fishing, ECML PKDD 2024 (arXiv 2404.08981): whether the
likeliest class is right is the only question, V = √(p̂ (1 − p̂)) h with p̂ = max p, and
A has D rows. `auto` is full up to FULL_ROWS and FULL_CLASSES, else binary: K = 10 and D
= 512 are binary.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from aljax.strategies.distances import dot
from aljax.strategies.placing import (
    EVERYWHERE,
    SMALL_TILE,
    SPLIT,
    candidates_room,
    drawn_order,
    first_row,
    gathered,
    joined,
    padded,
    program,
    put,
    real_rows,
    room,
    summed,
    take,
    tiles,
)
from aljax.strategies.scores import log_softmax
from aljax.strategies.strategy import Outputs, Query

FULL_ROWS = 1280  # of A
FULL_CLASSES = 20
OVERSAMPLE = 2
STEPS = 128  # images added or taken away by one call
ADD, TAKE_AWAY = -1, 1  # the sign of the change of A⁻¹


def select(query: Query) -> np.ndarray:
    """The choice, `[budget]`; needs logits and embedding, also of labelled images."""
    order, budget = drawn_order(query), query.budget
    candidates = tuple(x[order] for x in factors(query, query.candidates))
    labelled = factors(query, query.labelled)
    bought = len(labelled[0])
    of_labelled = fisher(query, labelled, query.most_labelled)
    target = of_labelled + fisher(query, candidates, query.most_candidates)
    target /= bought + query.count
    start = query.options.regularisation * np.eye(len(target))
    start += of_labelled / (bought + budget)
    scaled = candidates[0] * np.float32(np.sqrt(budget / (bought + budget)))
    rows, forward = (scaled, candidates[1]), min(OVERSAMPLE * budget, query.count)
    size = candidates_room(query)
    added, reached = search(query, rows, size, start, target, ADD, forward)
    rows, size = tuple(x[added] for x in rows), room(forward, query.devices)
    count = forward - budget
    removed, _ = search(query, rows, size, reached, target, TAKE_AWAY, count)
    return order[np.delete(added, removed)]


def factors(query: Query, outputs: Outputs) -> tuple[np.ndarray, np.ndarray]:
    """What V is made of, float32: Vᵀ = share ⊗ h, `[N, R, C]` and h `[N, D]`.

    R and C are K in the full form, 1 in the binary one.
    """
    logits, form = outputs.logits, query.options.fisher
    classes, width = logits.shape[-1], outputs.embedding.shape[-1]
    small = classes * width <= FULL_ROWS and classes <= FULL_CLASSES
    by_likelihood = logits.argsort(-1)
    sorted_p = np.exp(log_softmax(logits))
    against = sorted_p[:, :-1].sum(-1)  # 1 − max p, not rounded to 0
    if form == "binary" or form == "auto" and not small:
        share = np.sqrt(sorted_p[:, -1] * against)[:, None, None]
        return share.astype(np.float32), outputs.embedding
    p = np.empty_like(sorted_p)
    np.put_along_axis(p, by_likelihood, sorted_p, -1)
    share = np.eye(classes) - p[:, None, :]
    image, top = np.arange(len(p)), by_likelihood[:, -1]
    share[image, top, top] = against
    return (np.sqrt(p)[:, :, None] * share).astype(np.float32), outputs.embedding


def fisher(query: Query, rows: tuple[np.ndarray, np.ndarray], most: int) -> np.ndarray:
    """The sum of I over rows, `[C·D, C·D]` float64; room for `most` of them."""
    size = room(max(len(rows[0]), most), query.devices)
    sums = program(information, query.devices, (SPLIT, SPLIT), EVERYWHERE)
    query.check()
    return np.asarray(sums(*(padded(x, size) for x in rows)), np.float64)


def information(share: jax.Array, h: jax.Array) -> jax.Array:
    """Σ V Vᵀ over the rows of all devices; rows of zeros add nothing."""

    def of_tile(total, tile):
        share, h = tile
        v = (share[..., None] * h[:, None, None]).reshape(-1, total.shape[0])
        return total + dot(v.T, v.T), None

    total = jnp.zeros((share.shape[-1] * h.shape[-1],) * 2)
    return summed(lax.scan(of_tile, total, tiles((share, h), SMALL_TILE))[0])


def search(
    query: Query,
    rows: tuple[np.ndarray, np.ndarray],
    size: int,
    start: np.ndarray,
    target: np.ndarray,
    sign: int,
    count: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Adds images to A, or takes them away, one by one, the best each time.

    Args:
        query: the query.
        rows: share and h of the images there are.
        size: rows laid out for them.
        start: A, float64.
        target: F, float64.
        sign: ADD or TAKE_AWAY.
        count: how many.

    Returns:
        Their positions in order, and A afterwards.

    Raises:
        ValueError: λ is so small that numbers were not finite in float32.
    """
    begun = program(begin, query.devices, (SPLIT, SPLIT, EVERYWHERE), (SPLIT,) * 3)
    *state, free = begun(*(padded(x, size) for x in rows), np.int32(len(rows[0])))
    specs = (*(SPLIT,) * 3, *(EVERYWHERE,) * 4), (SPLIT, EVERYWHERE, EVERYWHERE)
    step = program(steps, query.devices, *specs, sign, STEPS)
    chosen = np.zeros(0, np.int64)
    while len(chosen) < count:
        # Anew and in float64, so that the rounding of many corrections does not add up.
        inverse = np.linalg.inv(start)
        known = (inverse, target, inverse @ target @ inverse)
        known = (x.astype(np.float32) for x in known)
        number = min(STEPS, count - len(chosen))
        free, picks, finite = step(*state, free, *known, np.int32(number))
        if not finite:
            raise ValueError(
                f"--config.query.regularisation: {query.options.regularisation:g} is "
                "lost in rounding beside the embeddings of this network, so bait "
                "cannot tell what an image is worth; raise it. Nothing was bought."
            )
        picks = np.asarray(picks)[:number]
        share, h = (x[picks].astype(np.float64) for x in rows)
        v = (share[..., None] * h[:, None, None]).reshape(-1, len(start))
        start = start - sign * v.T @ v
        chosen = np.concatenate([chosen, picks])
        query.check()
    return chosen, start


def begin(share: jax.Array, h: jax.Array, count: jax.Array):
    """Lays rows on the devices, with a mark of those that are real."""
    return share, h, real_rows(h, count)


def times(a: jax.Array, b: jax.Array) -> jax.Array:
    """Products of many small matrices, `[n, p, q]` and `[n, q, r]`."""
    return a * b if b.shape[1:] == (1, 1) else jnp.matmul(a, b, precision="highest")


def transposed(a: jax.Array) -> jax.Array:
    return a.swapaxes(1, 2)


def quadratic(share: jax.Array, h: jax.Array, matrix: jax.Array) -> jax.Array:
    """Vᵀ X V of every row, `[n, R, R]`, for X `[C·D, C·D]`."""
    columns = share.shape[-1]

    def of_tile(tile):
        share, h = tile
        x = matrix.reshape(columns, h.shape[-1], columns, h.shape[-1])
        x = x.transpose(0, 2, 3, 1).reshape(-1, h.shape[-1])
        half = dot(h, x).reshape(len(h), columns, columns, -1)
        return times(times(share, (half * h[:, None, None]).sum(-1)), transposed(share))

    return joined(lax.map(of_tile, tiles((share, h), SMALL_TILE)))


def effect(sign: int, s: jax.Array, t: jax.Array) -> jax.Array:
    """How much better the trace gets by each image, `[n]`."""
    left = jnp.eye(s.shape[-1]) - sign * s
    inverse = 1 / left if s.shape[-1] == 1 else jnp.linalg.inv(left)
    return -sign * (t * transposed(inverse)).sum((1, 2))


def steps(sign, most, share, h, free, inverse, target, middle, number):
    """The next images that are added or taken away.

    Args:
        sign: static, ADD or TAKE_AWAY.
        most: static, STEPS.
        share: `[n, R, C]` of this device.
        h: `[n, D]`.
        free: `[n]`, whether a row may be chosen.
        inverse: A⁻¹.
        target: F.
        middle: A⁻¹ F A⁻¹.
        number: how many steps.

    Returns:
        The new `free`, the positions `[most]`, and whether all numbers were finite:
        1 − S of an image in A is positive, but rounding may take it below 0.
    """
    rank, columns = share.shape[1:]

    def step(i, carry):
        s, t, inverse, free, picks, finite = carry
        value = jnp.where(free, effect(sign, s, t), -jnp.inf)
        best = value.argmax()[None]
        found = value[best], first_row(h) + best, share[best], h[best]
        value, position, *one = gathered(found)
        _, position, *one = take((value, position, *one), value.argmax())
        v = (one[0][..., None] * one[1]).reshape(rank, -1)
        u = dot(v, inverse)
        root = jnp.linalg.cholesky(jnp.linalg.inv(jnp.eye(rank) - sign * dot(u, v)))
        w = dot(root.T, u.T)  # [R, C·D]; A⁻¹ changes by sign · wᵀ w
        wf = dot(w, target)
        z, y = dot(wf, inverse), dot(wf, w)
        both = jnp.concatenate([w, z]).reshape(-1, h.shape[-1])
        both = dot(h, both).reshape(len(h), 2, rank, columns).swapaxes(2, 3)
        a, b = times(share, both[:, 0]), times(share, both[:, 1])
        cross = times(a, transposed(b))
        t += sign * (cross + transposed(cross))
        t += times(times(a, y[None]), transposed(a))
        s += sign * times(a, transposed(a))
        inverse += sign * dot(w.T, w.T)
        free = put(free, position[None], False)
        finite &= jnp.isfinite(root).all()
        return s, t, inverse, free, picks.at[i].set(position), finite

    s, t = quadratic(share, h, inverse), quadratic(share, h, middle)
    carry = s, t, inverse, free, jnp.zeros(most, jnp.int32), jnp.bool_(True)
    return lax.fori_loop(0, number, step, carry)[3:]
