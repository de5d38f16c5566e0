"""One pass of a network over many images in large device batches."""

import functools
from collections import deque
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from aljax import augment
from aljax.learner import Learner, TrainState
from aljax.machine.devices import EVERYWHERE, SPLIT, Devices, check_share, fetch, spmd


def make_predict(learner: Learner, devices: Devices) -> Callable:
    """Compiles the program that reads one batch of images.

    Returns:
        predict(variables, loss_params, images, indices) -> dict: logits `[B, K]`,
        embedding `[B, D]` and, with a module, predicted_loss `[B]` of
        `images[indices]`, without augmentation, by running statistics. `images` uint8
        `[N, H, W, C]` lies on the devices. A blueprint with passes also gives
        stochastic_logits `[B, T, K]`, and takes a key and the number of the batch.
    """

    blueprint, passes = learner.blueprint, learner.blueprint.passes
    check_share("score_batch_size", blueprint.score_batch_size, devices.size)

    def predict(variables, loss_params, images, indices, *drawn):
        x = augment.normalise(images[indices], blueprint.mean, blueprint.std)
        features = learner.network.apply(variables, x)
        outputs = {"logits": features.logits, "embedding": features.embedding}
        if learner.module is not None:
            outputs["predicted_loss"] = learner.module.apply(
                {"params": loss_params}, features.stages
            )
        if passes:
            keys = jax.random.split(jax.random.fold_in(*drawn), passes)
            outputs["stochastic_logits"] = jnp.swapaxes(
                one_pass(variables, x, keys), 0, 1
            )
        return outputs

    # What does not depend on the key is not mapped: all passes share those layers.
    @functools.partial(jax.vmap, in_axes=(None, None, 0))
    def one_pass(variables, x, key):
        return learner.network.apply(variables, x, rngs={"dropout": key}).logits

    in_specs = (EVERYWHERE, EVERYWHERE, EVERYWHERE, SPLIT)
    in_specs += (EVERYWHERE, EVERYWHERE) if passes else ()
    return spmd(predict, devices, in_specs, SPLIT)


def _batches(indices: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(indices), size):
        part = indices[start : start + size].astype(np.int32)
        yield np.pad(part, (0, size - len(part)), mode="edge")


def predict_all(
    predict: Callable,
    state: TrainState,
    images: jax.Array,
    indices: np.ndarray,
    batch_size: int,
    needs: frozenset[str],
    on_batch: Callable[[], None] = lambda: None,
    key: jax.Array | None = None,
    ahead: int = 0,
) -> dict[str, np.ndarray]:
    """Reads any number of images with one compiled program.

    Args:
        predict: from `make_predict`.
        state: holds the weights.
        images: uint8 `[N, H, W, C]` on the devices.
        indices: `[M]` images to read, in the order of the results.
        batch_size: images per call; the last call is padded and the padding dropped.
        needs: which outputs to bring to the host.
        on_batch: called after each batch; may raise to stop.
        key: on the devices, for the passes of a blueprint that has them.
        ahead: batches that the devices may be given before their answers are awaited.

    Returns:
        The needed outputs, M rows each.
    """
    parts: dict[str, list[np.ndarray]] = {name: [] for name in sorted(needs)}
    under_way: deque[dict[str, jax.Array]] = deque()

    def bring(most: int) -> None:
        while len(under_way) > most:
            outputs = under_way.popleft()
            for name in parts:
                parts[name].append(fetch(outputs[name]))

    for number, batch in enumerate(_batches(indices, batch_size)):
        drawn = () if key is None else (key, np.int32(number))
        under_way.append(
            predict(state.variables, state.loss_params, images, batch, *drawn)
        )
        bring(ahead)
        on_batch()
    bring(0)
    return {name: np.concatenate(part)[: len(indices)] for name, part in parts.items()}
