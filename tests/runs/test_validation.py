"""Labelled images held out of training take the place of the test set, wholly."""

import dataclasses

import numpy as np
import pytest

from aljax.config import replace
from aljax.grid import expand
from aljax.machine.preemption import Preempted
from aljax.runs.folder import RunFolder
from aljax.runs.session import Session
from aljax.runs.trial import Trial
from tests.support.tiny import CONFIG, results, run

HELD_OUT = 5
CHOOSING = replace(replace(CONFIG, "validation", HELD_OUT), "strategy", "random")


@pytest.fixture(scope="module")
def chosen(session, tmp_path_factory):
    (rows,) = run(session, CHOOSING, tmp_path_factory.mktemp("chosen"))
    return rows


def other_test_set(session):
    dataset = session.dataset
    images = 255 - dataset.test_images[:9]
    labels = np.zeros(9, np.int32)
    return dataclasses.replace(dataset, test_images=images, test_labels=labels)


def test_the_test_set_changes_nothing(session, chosen, tmp_path):
    given = session.devices, session.clock, session.console, session.preemption
    (rows,) = run(Session(other_test_set(session), *given), CHOOSING, tmp_path)
    assert results(rows) == results(chosen)


def test_rows_say_what_was_held_out(chosen, undisturbed, tiny_dataset):
    assert [row["labeled"] for row in chosen] == [13, 23, 33]
    assert {row["evaluated_on"] for row in chosen} == {"validation"}
    assert {row["evaluated_on"] for row in undisturbed[1]} == {"test"}
    assert chosen[0]["queried"] == undisturbed[1][0]["queried"]
    counts = [np.sum(row["confusion"], axis=1).tolist() for row in chosen]
    assert sum(counts[0]) == HELD_OUT and counts == [counts[0]] * 3
    bought = np.bincount(tiny_dataset.train_labels[chosen[0]["queried"]], minlength=3)
    assert (np.array(counts[0]) <= bought).all()


def test_held_out_images_are_never_trained_on(session, tmp_path, monkeypatch):
    """Images of every call of the training program, and those of every evaluation."""
    trained, held_out = [], []
    labels = Trial.labelled.fget

    def spied(trial):
        found = labels(trial)
        trained.append(found.indices[: found.count].tolist())
        held_out.append(trial.held_out.tolist())
        return found

    monkeypatch.setattr(Trial, "labelled", property(spied))
    (rows,) = run(session, CHOOSING, tmp_path)
    assert [len(images) for images in trained] == [8, 18, 28]
    assert held_out == [held_out[0]] * 3 and len(set(held_out[0])) == HELD_OUT
    for cycle, images in enumerate(trained, 1):
        bought = sum((row["queried"] for row in rows[:cycle]), [])
        assert set(images) | set(held_out[0]) == set(bought)
        assert not set(images) & set(held_out[0])


def test_optimizers_share_what_is_held_out_and_trials_do_not(session, tmp_path):
    sweep = {"optimizer": ("sgd", "adamw")}
    config = replace(replace(CHOOSING, "sweep", sweep), "trials", 3)
    counts = [np.sum(rows[0]["confusion"], axis=1).tolist() for rows in
              run(session, config, tmp_path)]  # fmt: skip
    assert counts[:3] == counts[3:]
    assert len(set(map(tuple, counts[:3]))) > 1


def test_interrupted_it_goes_on_the_same(session, chosen, tmp_path):
    (group,) = expand(CHOOSING)
    for _ in range(3):
        session.preemption.requested = True
        with pytest.raises(Preempted):
            run(session, CHOOSING, tmp_path)
        session.preemption.requested = False
    (rows,) = run(session, CHOOSING, tmp_path)
    assert results(rows) == results(chosen)
    assert group[0].training_images == 3 * (8 + 18 + 28)
    about = RunFolder(tmp_path / group[0].folder).about()
    assert about["label"] == "tiny + SGD (validation)"
