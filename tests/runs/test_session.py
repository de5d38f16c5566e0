"""What a session refuses before anything is compiled."""

import pytest

from aljax.config import Config
from aljax.learner import make_blueprint
from aljax.machine.clock import memory_bytes
from aljax.machine.preemption import Preempted
from aljax.runs import session as sessions
from aljax.runs.session import check_memory

GIB = 2**30


def blueprint(dataset, **fields):
    return make_blueprint(Config(**fields), dataset, with_module=False)


# An image takes 32 x 32 x 64 x 4 B = 256 KiB in the first stage; training keeps two.
@pytest.mark.parametrize(
    "fields, devices, field",
    [
        (dict(batch_size=2**15), 1, None),  # 16 GiB of 16
        (dict(batch_size=2**15 + 1), 1, "batch_size: 32769"),
        (dict(batch_size=2**16), 2, None),
        (dict(batch_size=2**16, precision="bfloat16"), 1, None),
        (dict(batch_size=2**16, width=128, precision="bfloat16"), 1, "batch_size"),
        (dict(score_batch_size=2**16), 1, None),
        (dict(score_batch_size=2**17), 1, "score_batch_size: 131072 images take 32"),
    ],
)
def test_batches_beyond_memory(fields, devices, field, tiny_dataset):
    if field is None:
        check_memory(blueprint(tiny_dataset, **fields), devices, 16 * GIB)
        return
    with pytest.raises(ValueError, match=f"--config.{field}.*of 16 GiB.*choose"):
        check_memory(blueprint(tiny_dataset, **fields), devices, 16 * GIB)


def test_memory_is_that_of_this_machine():
    assert 2**28 < memory_bytes() < 2**46


def test_processes_ask_each_other_by_the_clock(session, monkeypatch):
    now, asked = [0.0], []

    def largest(*values):
        asked.append(now[0])
        return values

    monkeypatch.setattr(sessions, "count", lambda: 2)
    monkeypatch.setattr(sessions, "largest", largest)
    monkeypatch.setattr(sessions.time, "monotonic", lambda: now[0])
    ask = session.asking()
    for _ in range(160):
        now[0] += 0.25  # a batch
        ask()
    assert asked[:3] == [0.25, 0.75, 1.75]
    assert {b - a for a, b in zip(asked[2:], asked[3:], strict=False)} == {1.0}
    monkeypatch.setattr(session.preemption, "requested", True)
    with pytest.raises(Preempted):
        for _ in range(4):
            ask()
