"""One program trains whatever it is given: spans, batches, milestones, devices."""

import dataclasses
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from aljax import augment
from aljax.learner import Learner, TrainState
from aljax.machine.clock import CompileClock
from aljax.machine.devices import choose_devices, replicate
from aljax.metrics import cross_entropies
from aljax.optimizers import Sgd
from aljax.training import LabelledSet, Report, epoch_order, make_train, steps_per_epoch

CAPACITY = 64
KEY = 5  # of the cycle
DETACH, MILESTONE = 20, 30  # epochs, of `tiny_learner`


def labels_of(count: int) -> LabelledSet:
    """The first `count` of a shuffled pool; the padding must not be read."""
    indices = np.random.default_rng(7).permutation(240)[:CAPACITY].astype(np.int32)
    indices[count:] = 239
    return LabelledSet(indices, np.int32(count))


def make_run(learner, dataset, count: int = 1):
    """(state, count, last step) -> host copies of the new state and the report."""
    devices = choose_devices(count)
    program = make_train(learner, devices)
    images = replicate(dataset.train_images, devices)
    labels = replicate(dataset.train_labels, devices)

    def run(state, count, last) -> tuple[TrainState, Report]:
        given = (labels_of(count), jax.random.key(KEY), np.int32(last))
        state, *given = (replicate(x, devices) for x in (state, *given))
        return jax.device_get(program(state, images, labels, *given))

    return run


def test_epochs_need_nothing_of_the_host(setup):
    """No transfer between two calls of the program that is not asked for."""
    devices = choose_devices(1)
    program = make_train(setup.learner, devices)
    data = setup.dataset.train_images, setup.dataset.train_labels
    given = *data, labels_of(10), jax.random.key(KEY), np.int32(4)
    state, *given = (replicate(x, devices) for x in (setup.start, *given))
    with jax.transfer_guard("disallow"):
        state, report = program(state, *given)
    assert int(state.step) == 4


@pytest.fixture(scope="module")
def setup(tiny_learner, tiny_dataset, draw_state):
    """The training program, compiled, and a state to begin with."""
    run, start = make_run(tiny_learner, tiny_dataset), draw_state(tiny_learner)
    clock = CompileClock()
    run(start, 10, 1)
    assert clock.programs >= 1
    return SimpleNamespace(
        run=run, start=start, clock=clock, learner=tiny_learner, dataset=tiny_dataset
    )


def at_epoch(state: TrainState, epoch: int, count: int) -> TrainState:
    return state._replace(step=np.int32(epoch * steps_per_epoch(count, 8)))


def assert_same(ours, theirs) -> None:
    for a, b in zip(*map(jax.tree.leaves, (ours, theirs)), strict=True):
        np.testing.assert_array_equal(a, b)


def differ(ours, theirs) -> bool:
    leaves = zip(*map(jax.tree.leaves, (ours, theirs)), strict=True)
    return any(np.any(a != b) for a, b in leaves)


def test_one_program_whatever_the_count(setup):
    programs = setup.clock.programs
    for count in (10, 37, 64):
        state, report = setup.run(setup.start, count, 2)
        assert state.step == 2 and np.isfinite(report.loss)
    assert setup.clock.programs == programs


def test_spans_may_be_cut_anywhere(setup):
    whole, report = setup.run(setup.start, 10, 6)
    state, losses = setup.start, []
    for last in (2, 3, 6):
        state, part = setup.run(state, 10, last)
        losses.append(part.loss)
    assert_same(state, whole)
    # Two epochs and a half: 10 images, then 8, then 2 and 10.
    mean = np.dot([10, 8, 12], losses) / 30
    assert report.loss == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize("count", [1, 10, CAPACITY])
def test_epoch_order_is_a_new_permutation_each_time(count):
    orders = [
        np.asarray(epoch_order(jax.random.key(epoch), labels_of(count)))
        for epoch in range(3)
    ]
    for order in orders:
        assert sorted(order[:count]) == list(range(count))
        assert sorted(order) == list(range(CAPACITY))
    assert (count == 1) == (orders[0][:count].tolist() == orders[1][:count].tolist())


def images_of_step(setup, step: int, count: int):
    """The normalised images and labels that a step of the first epoch must see."""
    labels = labels_of(count)
    epoch_key = jax.random.fold_in(jax.random.key(KEY), 0)
    order = np.asarray(epoch_order(jax.random.fold_in(epoch_key, 0), labels))
    chosen = labels.indices[order[8 * step : min(8 * step + 8, count)]]
    padding = setup.learner.blueprint.crop_padding
    draws = augment.draw(jax.random.fold_in(epoch_key, 1 + step), 8, padding, True)
    images = setup.dataset.train_images[chosen]
    draws = jax.tree.map(lambda x: x[: len(chosen)], draws)
    images = augment.crop_and_flip(images, draws, padding)
    normal = augment.normalise(images, setup.dataset.mean, setup.dataset.std)
    return np.asarray(normal), setup.dataset.train_labels[chosen]


@pytest.mark.parametrize("step, size", [(0, 8), (1, 2)], ids=["full", "short"])
def test_a_batch_holds_exactly_the_next_images_of_its_epoch(setup, step, size):
    images, labels = images_of_step(setup, step, 10)
    assert len(images) == size
    network = setup.learner.network.clone(axis_name=None)

    # Compiled in haste: it runs once.
    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def forward(x):
        mask = np.ones(size, np.float32)
        return network.apply(
            setup.start.variables, x, mask, train=True, mutable=["batch_stats"]
        )

    features, updated = forward(images)
    state, report = setup.run(setup.start._replace(step=np.int32(step)), 10, step + 1)
    logits = np.asarray(features.logits)
    expected = cross_entropies(logits, labels).mean()
    assert report.loss == pytest.approx(expected, rel=1e-5)
    assert report.accuracy == pytest.approx((logits.argmax(-1) == labels).mean())
    pairs = zip(
        *map(jax.tree.leaves, (state.batch_stats, updated["batch_stats"])), strict=True
    )
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_padding_of_the_labelled_set_is_never_read(setup, monkeypatch):
    expected = setup.run(setup.start, 37, 5)
    longer = labels_of(CAPACITY).indices

    def padded(count):
        return LabelledSet(longer, np.int32(count))

    monkeypatch.setitem(globals(), "labels_of", padded)
    assert_same(setup.run(setup.start, 37, 5), expected)


def test_overfits_a_few_images(setup):
    state, first = setup.run(setup.start, 16, 2)
    state, _ = setup.run(state, 16, 2 * (MILESTONE - 1))
    _, last = setup.run(state, 16, 2 * MILESTONE)
    assert last.accuracy == 1.0 and last.loss < first.loss / 4


def test_learning_rate_falls_at_the_milestone(setup):
    before = at_epoch(setup.start, MILESTONE - 1, 10)
    trained, _ = setup.run(before, 10, 2 * MILESTONE)
    assert differ(trained.params, before.params)
    # The factor is 0: steps go on, weights stay.
    after, _ = setup.run(trained, 10, 2 * MILESTONE + 3)
    assert after.step == 2 * MILESTONE + 3
    assert_same(after.params, trained.params)
    assert_same(after.loss_params, trained.loss_params)
    assert differ(after.batch_stats, trained.batch_stats)


def test_module_lets_go_of_the_network_at_the_detach_epoch(setup):
    other = jax.tree.map(lambda x: -x, setup.start.loss_params)
    for epoch, moved in ((DETACH - 1, True), (DETACH, False)):
        one = at_epoch(setup.start, epoch, 10)
        last = one.step + 1
        after_one, _ = setup.run(one, 10, last)
        after_other, _ = setup.run(one._replace(loss_params=other), 10, last)
        assert differ(after_one.params, after_other.params) == moved
        assert differ(after_one.loss_params, one.loss_params)


def test_first_bad_step_is_reported(setup):
    # Momentum that throws the weights beyond float32's reach in the first step.
    huge = jax.tree.map(lambda x: np.full_like(x, 1e38), setup.start.opt_state)
    state, report = setup.run(setup.start._replace(opt_state=huge), 10, 4)
    assert report.bad_step == 1 and state.step == 4
    _, report = setup.run(setup.start, 10, 4)
    assert report.bad_step == -1


def two_devices(parts, dataset, start, counts):
    """In a process of two devices: three steps, and what a batch of 7 is told.

    And, where each has statistics of its own, the states after one and two steps.
    """
    direction = Sgd(**dict(parts["blueprint"].settings)).direction()
    learner = Learner(**parts, optimizer=direction)
    run = make_run(learner, dataset, count=2)
    results = [run(start, count, 3) for count in counts]
    own = dataclasses.replace(
        learner,
        network=learner.network.clone(axis_name=None),
        blueprint=dataclasses.replace(learner.blueprint, sync_batch_norm=False),
    )
    step = make_run(own, dataset, count=2)
    first, _ = step(start, counts[-1], 1)
    apart = first, step(first, counts[-1], 2)[0]
    odd = dataclasses.replace(
        learner, blueprint=dataclasses.replace(learner.blueprint, batch_size=7)
    )
    images, refusal = (dataset.train_images, dataset.train_labels), None
    try:
        program = make_train(odd, choose_devices(2))
        jax.eval_shape(program, start, *images, labels_of(10), jax.random.key(KEY), 1)
    except ValueError as error:
        refusal = str(error)
    return results, refusal, apart


@pytest.fixture(scope="module")
def devices(setup):
    """What `two_devices` gives with 14 and 11 labels; 11 leave one of them no row."""
    flags = os.environ.get("XLA_FLAGS", "")
    two = f"{flags} --xla_force_host_platform_device_count=2"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", two.strip())
        patch.setenv("JAX_PLATFORMS", "cpu")
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            parts = dict(vars(setup.learner))
            del parts["optimizer"]  # of functions, which do not travel
            arguments = parts, setup.dataset, setup.start, (14, 11)
            return pool.submit(two_devices, *arguments).result(timeout=300)


@pytest.mark.parametrize("i, count", [(0, 14), (1, 11)])
def test_two_devices_compute_what_one_does(setup, devices, i, count):
    state, report = devices[0][i]
    expected_state, expected = setup.run(setup.start, count, 3)
    assert report.loss == pytest.approx(expected.loss, rel=1e-5)
    assert report.accuracy == expected.accuracy
    leaves = zip(*map(jax.tree.leaves, (state, expected_state)), strict=True)
    for a, b in leaves:
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_a_device_without_a_row_has_no_say(setup, devices):
    """With statistics of its own: of the second batch the first device has all."""
    first, second = devices[2]
    expected, _ = setup.run(first, 11, 2)
    leaves = zip(*map(jax.tree.leaves, (second, expected)), strict=True)
    for a, b in leaves:
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    assert differ(first.batch_stats, second.batch_stats)


def test_a_batch_that_devices_cannot_share_is_refused(devices):
    assert devices[1] is not None and "batch_size" in devices[1]
