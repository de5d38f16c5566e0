"""Training: the joint loss, one step, and one compiled program for every cycle.

The program runs any span of steps of a cycle, whatever the number of labels: the
labelled set is a padded index array and a count, and the span is data. It stops and
starts at any step with the same bits, so work may be cut into calls of any length.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.flatten_util import ravel_pytree

from aljax import augment
from aljax.learner import Blueprint, Learner, TrainState
from aljax.machine.devices import AXIS, EVERYWHERE, Devices, check_share, spmd
from aljax.models import ranking_loss

DROPOUT = 2  # folded into the key of a batch, which augmenting has split in two


class Report(NamedTuple):
    """What a call of the training program reports of its steps; scalars."""

    loss: jax.Array  # mean cross-entropy over the images seen
    accuracy: jax.Array  # on the augmented images, before each update
    bad_step: jax.Array  # first step with a loss that is not finite, or -1


class LabelledSet(NamedTuple):
    """The labelled set, padded so that its growth changes no shape."""

    indices: jax.Array  # [capacity] int32
    count: jax.Array  # int32, how many are real


def joint_loss(
    learner: Learner,
    trained: tuple[Any, Any],
    batch_stats: Any,
    images: jax.Array,
    labels: jax.Array,
    mask: jax.Array,
    count: jax.Array,
    detach: jax.Array,
    key: jax.Array | None = None,
):
    """This device's share of mean cross-entropy + λ · ranking loss.

    The shares of all devices sum to the loss of the whole batch, which has `count` real
    rows, first in order of device; images are paired across devices.

    Args:
        learner: the network, the module, λ and ξ.
        trained: parameters of the network and of the module (or None).
        batch_stats: running statistics before this batch.
        images: `[B, H, W, C]` normalised.
        labels: `[B]`.
        mask: `[B]`, 1 for a real row.
        count: real rows on all devices.
        detach: whether the module's gradient stops short of the network.
        key: of the network's dropout; None: it has none.

    Returns:
        The share, and (new statistics, cross-entropies `[B]`, logits `[B, K]`).
    """
    params, loss_params = trained
    features, updated = learner.network.apply(
        {"params": params, "batch_stats": batch_stats},
        images,
        mask,
        train=True,
        mutable=["batch_stats"],
        rngs=None if key is None else {"dropout": key},
    )
    losses = optax.softmax_cross_entropy_with_integer_labels(features.logits, labels)
    share = (losses * mask).sum() / count
    if learner.module is not None:
        predicted = learner.module.apply(
            {"params": loss_params}, features.stages, detach
        )
        everyone = (lax.all_gather(x, AXIS, tiled=True) for x in (predicted, losses))
        module = learner.blueprint.ranking
        ranking = ranking_loss(*everyone, count, module.margin)
        share += module.weight * ranking / lax.axis_size(AXIS)
    return share, (updated.get("batch_stats", {}), losses, features.logits)


def _sum_over_devices(tree: Any) -> Any:
    """Adds up float32 arrays in one collective, where there are several devices."""
    if lax.axis_size(AXIS) == 1:
        return tree
    flat, unravel = ravel_pytree(tree)
    return unravel(lax.psum(flat, AXIS))


def _descend(learner, epoch, rate, grads, opt_state, params):
    optimizer = optax.with_extra_args_support(learner.optimizer)
    direction, opt_state = optimizer.update(grads, opt_state, params, epoch=epoch)
    return jax.tree.map(lambda p, d: p - rate * d, params, direction), opt_state


def _mean_of_seen(batch_stats: Any, mask: jax.Array) -> Any:
    """The mean of statistics over the devices that have a real row of the batch."""
    seen = mask.any().astype(jnp.float32)
    devices = lax.psum(seen, AXIS)
    return jax.tree.map(
        lambda x: lax.psum(jnp.where(seen > 0, x, 0.0), AXIS) / devices, batch_stats
    )


def update(
    learner: Learner,
    state: TrainState,
    images: jax.Array,
    labels: jax.Array,
    mask: jax.Array,
    epoch: jax.Array,
    key: jax.Array | None = None,
) -> tuple[TrainState, tuple[jax.Array, jax.Array]]:
    """One step on this device's rows of a batch.

    Args:
        learner: network, module and optimizer.
        state: the same on every device.
        images: `[B, H, W, C]` normalised; rows of the padding may hold anything.
        labels: `[B]` int32.
        mask: `[B]` float32, 1 for a real row; real rows come first over all devices.
        epoch: epochs finished.
        key: of the network's dropout; None: it has none.

    Returns:
        The new state, and (Σ cross-entropy, Σ right answers) over all devices.
    """
    blueprint = learner.blueprint
    count = lax.psum(mask.sum(), AXIS).astype(jnp.int32)
    detach = blueprint.ranking is not None and epoch >= blueprint.ranking.detach_epoch

    def share(trained):
        return joint_loss(
            *(learner, trained, state.batch_stats, images, labels, mask, count, detach),
            key,
        )

    trained = (state.params, state.loss_params)
    grads, (batch_stats, losses, logits) = jax.grad(share, has_aux=True)(trained)
    right = (logits.argmax(-1) == labels) * mask
    grads, *sums = _sum_over_devices((grads, (losses * mask).sum(), right.sum()))
    if not blueprint.sync_batch_norm:
        batch_stats = _mean_of_seen(batch_stats, mask)
    descend = partial(_descend, learner, epoch, learner.rate(epoch))
    params, opt_state = descend(grads[0], state.opt_state, state.params)
    loss_params, loss_opt_state = state.loss_params, state.loss_opt_state
    if learner.module is not None:
        loss_params, loss_opt_state = descend(grads[1], loss_opt_state, loss_params)
    new = TrainState(
        state.step + 1, params, batch_stats, opt_state, loss_params, loss_opt_state
    )
    return new, tuple(sums)


def epoch_order(key: jax.Array, labelled: LabelledSet) -> jax.Array:
    """Shuffles the labelled set: positions `[capacity]`, the real ones first."""
    positions = jnp.arange(labelled.indices.shape[0])
    drawn = jax.random.uniform(key, positions.shape)
    return jnp.argsort(jnp.where(positions < labelled.count, drawn, 2.0))


class _Epoch(NamedTuple):
    """What an epoch draws, at once: to a GPU, all batches are as little as one."""

    chosen: jax.Array  # [capacity] images, the real ones first
    keys: jax.Array  # [S] one for each batch that a full labelled set has
    draws: augment.Draws  # [S, B, …]


def _draw_epoch(blueprint: Blueprint, key: jax.Array, labelled: LabelledSet) -> _Epoch:
    order = epoch_order(jax.random.fold_in(key, 0), labelled)
    steps = jnp.arange(steps_per_epoch(len(order), blueprint.batch_size))
    keys = jax.vmap(partial(jax.random.fold_in, key))(1 + steps)
    draw = partial(
        augment.draw,
        batch=blueprint.batch_size,
        padding=blueprint.crop_padding,
        flip=blueprint.flip,
    )
    return _Epoch(labelled.indices[order], keys, jax.vmap(draw)(keys))


def _batch(blueprint: Blueprint, epoch: _Epoch, step, data_images, data_labels, count):
    """This device's rows of the batch at `step` of an epoch, augmented."""
    size = blueprint.batch_size
    local = size // lax.axis_size(AXIS)
    first = lax.axis_index(AXIS) * local
    draws = jax.tree.map(
        lambda x: lax.dynamic_slice_in_dim(x[step], first, local), epoch.draws
    )
    rows = step * size + first + jnp.arange(local)
    mask = (rows < count).astype(jnp.float32)
    chosen = epoch.chosen[jnp.minimum(rows, count - 1)]
    images = augment.augment(
        data_images[chosen],
        draws,
        blueprint.crop_padding,
        blueprint.padding,
        blueprint.mean,
        blueprint.std,
    )
    return images, data_labels[chosen], mask


def steps_per_epoch(count, batch_size: int):
    """Batches that hold `count` images, the last one short."""
    return (count + batch_size - 1) // batch_size


def images_in(step: int, count: int, batch_size: int) -> int:
    """Images seen in the first `step` steps of a cycle with `count` labels."""
    epochs, rest = divmod(step, steps_per_epoch(count, batch_size))
    return epochs * count + rest * batch_size


def make_train(learner: Learner, devices: Devices) -> Callable:
    """Compiles the training program of a learner.

    Returns:
        train(state, images, labels, labelled, key, last_step) -> (state, Report):
        runs the steps from `state.step` to before `last_step` of a cycle. `images`
        uint8 `[N, H, W, C]` and `labels` `[N]` lie on the devices, `labelled` is a
        LabelledSet, `key` belongs to the cycle. `state` is donated.
    """

    blueprint, batch_size = learner.blueprint, learner.blueprint.batch_size
    check_share("batch_size", batch_size, devices.size)

    def train(state, images, labels, labelled, key, last_step):
        first_step = state.step
        per_epoch = steps_per_epoch(labelled.count, batch_size)

        def run_epoch(epoch, carry):
            drawn = _draw_epoch(blueprint, jax.random.fold_in(key, epoch), labelled)

            def run_step(step, carry):
                state, sums, bad_step = carry
                position = step - epoch * per_epoch
                batch = _batch(
                    blueprint, drawn, position, images, labels, labelled.count
                )
                dropout = None
                if blueprint.dropout:
                    dropout = jax.random.fold_in(drawn.keys[position], DROPOUT)
                state, (loss, right) = update(learner, state, *batch, epoch, dropout)
                seen = jnp.minimum(labelled.count - position * batch_size, batch_size)
                bad = ~jnp.isfinite(loss) & (bad_step < 0)
                sums = sums + jnp.stack([loss, right, seen.astype(jnp.float32)])
                return state, sums, jnp.where(bad, step, bad_step)

            start = jnp.maximum(epoch * per_epoch, first_step)
            stop = jnp.minimum((epoch + 1) * per_epoch, last_step)
            return lax.fori_loop(start, stop, run_step, carry)

        carry = state, jnp.zeros(3), jnp.int32(-1)
        epochs = first_step // per_epoch, (last_step + per_epoch - 1) // per_epoch
        state, sums, bad_step = lax.fori_loop(*epochs, run_epoch, carry)
        return state, Report(sums[0] / sums[2], sums[1] / sums[2], bad_step)

    return spmd(
        train, devices, (EVERYWHERE,) * 6, (EVERYWHERE, EVERYWHERE), donate=(0,)
    )
