"""Programs that are kept run without being traced, and only where they are the same."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax.machine.devices import EVERYWHERE, EXECUTORS, choose_devices, spmd
from aljax.machine.executables import Program, own_code
from aljax.models import MODELS
from aljax.models.resnet import BasicBlock, ResNet
from aljax.optimizers import OPTIMIZERS


@pytest.fixture
def folder(tmp_path):
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    yield tmp_path
    jax.config.update("jax_compilation_cache_dir", before)


def double(tree, key, step):
    return {"x": tree["x"] * 2 + step}, jax.random.normal(key, (3,))


def never_traced(*args):
    raise AssertionError("this was traced")


def program(f, made_of="double", executor="shard_map", donate=()):
    devices = choose_devices(executor=executor)
    specs = (EVERYWHERE,) * 3, (EVERYWHERE, EVERYWHERE)
    return Program(spmd(f, devices, *specs, donate), made_of, devices)


def call(program, length=4):
    x = {"x": jnp.arange(length, dtype=jnp.float32)}
    return program(x, jax.random.key(1), np.int32(3))


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype and np.asarray(x).tobytes() == np.asarray(y).tobytes()


@pytest.mark.parametrize("executor", EXECUTORS)
def test_the_next_process_traces_nothing(folder, executor):
    first = call(program(double, executor=executor))
    again = program(never_traced, executor=executor)
    assert_same(call(again), first)
    shapes = again.shapes({"x": jnp.zeros(4)}, jax.random.key(1), np.int32(3))
    assert jax.tree.map(lambda a: (a.shape, a.dtype), first) == jax.tree.map(
        lambda a: (a.shape, a.dtype), shapes
    )


def test_other_shapes_makers_and_nobodys_code_are_traced(folder):
    call(program(double))
    for other in (
        partial(call, program(never_traced), 5),
        partial(call, program(never_traced, "triple")),
        partial(call, program(never_traced, executor="pmap")),
        partial(call, program(never_traced, None)),
    ):
        with pytest.raises(AssertionError, match="traced"):
            other()


def test_what_nobody_can_tell_apart_is_not_kept(folder):
    call(program(double, None))
    assert not [*folder.rglob("*")]


def test_a_damaged_file_is_made_again(folder):
    first = call(program(double))
    (file,) = (folder / "whole").iterdir()
    whole = file.read_bytes()
    for damaged in (whole[:-1], b"", whole[:40] + b"x" + whole[41:]):
        file.write_bytes(damaged)
        assert_same(call(program(double)), first)
        assert_same(call(program(never_traced)), first)


def test_a_full_disk_only_warns(folder):
    (folder / "whole").write_text("in the way")
    with pytest.warns(UserWarning, match="was not kept"):
        call(program(double))


def test_what_is_donated_is_taken(folder):
    for _ in range(2):
        kept = program(double, donate=(0,))
        x = {"x": jax.device_put(jnp.zeros(1000), jax.devices()[0])}
        kept(x, jax.random.key(1), np.int32(3))
        assert x["x"].is_deleted()


def test_own_code_is_told_from_others():
    class Mine(ResNet):
        pass

    named = [own_code(MODELS[name]) for name in MODELS]
    named += [own_code(OPTIMIZERS[name]) for name in OPTIMIZERS]
    assert None not in named and len({*named}) == len(named)
    assert own_code(partial(ResNet, BasicBlock, (1, 1))) not in (None, *named)
    assert own_code(Mine) is None and own_code(partial(Mine, BasicBlock)) is None
    assert own_code(partial(ResNet, Mine, (1, 1))) is None
    assert own_code(lambda **given: None) is None
