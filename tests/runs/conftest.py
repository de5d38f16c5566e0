"""A session for tiny experiments, and an undisturbed one."""

from functools import partial

import pytest

from aljax.machine.clock import CompileClock
from aljax.machine.devices import choose_devices
from aljax.machine.preemption import Preemption
from aljax.models import MODELS
from aljax.models.resnet import BasicBlock, ResNet
from aljax.runs.console import Console
from aljax.runs.session import Session
from tests.support.tiny import CONFIG, run


@pytest.fixture(scope="package", autouse=True)
def tiny_model():
    """Two stages of one block: what takes long is compiling."""
    MODELS["tiny"] = partial(ResNet, BasicBlock, (1, 1))
    yield
    del MODELS["tiny"]


@pytest.fixture(scope="package")
def session(tiny_dataset, tiny_model):
    return Session(
        tiny_dataset, choose_devices(1), CompileClock(), Console(), Preemption()
    )


@pytest.fixture(autouse=True)
def no_request(session):
    yield
    session.preemption.requested = False


@pytest.fixture(scope="package")
def undisturbed(session, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    (rows,) = run(session, CONFIG, workdir)
    return workdir, rows
