"""Adam first, then SGD: network and module switch, in every cycle, stopped or not."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from aljax.config import replace, validate
from aljax.grid import expand
from aljax.machine.preemption import Preempted
from aljax.runs.checkpoint import Progress
from aljax.runs.experiment import run_trial
from aljax.runs.folder import RunFolder
from aljax.runs.trial import Trial
from tests.support.tiny import CONFIG, results

SWITCHING = replace(
    replace(CONFIG, "optimizer", "adam_sgd"), "optimizers.adam_sgd.switch_epoch", 2
)


def carry_out(session, workdir):
    """The rows of the run, and the last state."""
    ((run,),) = expand(SWITCHING)
    folder = RunFolder(workdir / run.folder)
    state = jax.device_get(run_trial(session, run, folder))
    return results(folder.rows()), state


@pytest.fixture(scope="module")
def calm(session, tmp_path_factory):
    return carry_out(session, tmp_path_factory.mktemp("calm"))


def test_network_and_module_switch(calm):
    _, state = calm
    for (_, adam), (_, sgd) in (state.opt_state, state.loss_opt_state):
        assert adam.count == 2 * 5  # epochs of 33 labels, 8 at a time
        traces = jax.tree.leaves(sgd.trace)
        assert all(np.isfinite(trace).all() for trace in traces)
        assert any(np.any(trace != 0) for trace in traces)
    assert state.step == 3 * 5


def test_interrupted_across_the_switch_it_is_the_same(
    session, calm, tmp_path, monkeypatch
):
    """Stopped after every step, in epochs of Adam, of SGD, and between the two."""

    def stop(*given):
        session.preemption.requested = True

    monkeypatch.setattr(Trial, "tell", stop)
    rows, stops = None, 0
    while rows is None and stops < 99:
        try:
            rows, state = carry_out(session, tmp_path)
        except Preempted:
            session.preemption.requested = False
            stops += 1
    assert stops == 3 * (2 + 3 + 5) and rows == calm[0]
    for a, b in zip(*map(jax.tree.leaves, (state, calm[1])), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_switch_that_never_comes_is_refused():
    validate(SWITCHING)
    with pytest.raises(ValueError, match=r"switch_epoch: 2 epochs are never over bef"):
        validate(replace(SWITCHING, "epochs", 2))
    validate(replace(replace(SWITCHING, "epochs", 2), "optimizer", "adam"))


def test_divergence_names_both_rates():
    ((run,),) = expand(SWITCHING)
    trial = SimpleNamespace(
        config=run.config, run=run, training=range(13), progress=Progress(1)
    )
    said = str(Trial.diverged(trial, "the loss is not finite in", 5))
    assert "not finite in cycle 1, epoch 3. Lower config.optimizers.adam_sgd." in said
    assert "adam_sgd.learning_rate (now 0.0001) or config.optimizers.ad" in said
    assert "adam_sgd.sgd_learning_rate (now 0.1). What was written" in said
