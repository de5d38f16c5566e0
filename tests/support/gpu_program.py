"""Compiles aljax's programs for an H100, without one, and counts what it would do.

    JAX_CUDA_PLUGIN=FOLDER python -m tests.support.gpu_program resnet18/bfloat16/train/1

prints a row of counts for each MODEL/PRECISION/train or score/DEVICES. FOLDER has
jax-cuda12-pjrt of jaxlib's version and nvidia-cuda-nvcc-cu12; no GPU and no driver
are needed. Which of cuDNN's algorithms a GPU would choose is not known.
"""

import json
import os
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = "--here"  # in this process, which has been given what it needs
ROOT = Path(__file__).parents[2]
FOLDER = os.environ.get("JAX_CUDA_PLUGIN", "")
TARGET = Path(__file__).with_name("h100.txtpb")  # what XLA is to know of the GPU
BATCH, SCORE_BATCH, POOL = 128, 512, 1024  # images
SMALL = 2**20  # bytes that a kernel moves in less time than its launch takes


def installed() -> bool:
    """Whether there is a plugin, here or in FOLDER, that can compile for a GPU."""
    plugin = Path(FOLDER) / "jax_plugins" / "xla_cuda12"
    if FOLDER:
        return plugin.is_dir()
    return find_spec("jax_plugins") is not None and any(
        find_spec(f"jax_plugins.xla_cuda{version}") for version in (12, 13)
    )


def counts(*programs: str) -> dict[str, dict[str, Any]]:
    """The counts of programs, by their names, from a process of its own."""
    path = os.pathsep.join(filter(None, [FOLDER, os.environ.get("PYTHONPATH")]))
    settings = {
        "PYTHONPATH": path,
        "JAX_PLATFORMS": "cpu",
        "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "XLA_FLAGS": "",
    }
    command = [sys.executable, "-m", "tests.support.gpu_program", HERE, *programs]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = map(json.loads, done.stdout.splitlines())
    return dict(zip(programs, rows, strict=True))


def _learner(model: str, precision: str):
    import numpy as np

    from aljax.config import Config
    from aljax.data import Dataset
    from aljax.learner import make_blueprint, make_learner

    images, labels = np.zeros((1, 32, 32, 3), np.uint8), np.zeros(1, np.int32)
    classes = tuple(map(str, range(10)))
    colours = (0.5,) * 3, (0.25,) * 3
    data = Dataset("none", images, labels, images, labels, classes, *colours)
    config = Config(
        model=model,
        precision=precision,
        batch_size=BATCH,
        score_batch_size=SCORE_BATCH,
    )
    return make_learner(make_blueprint(config, data, with_module=True))


def _compile(model: str, precision: str, phase: str, count: int):
    """The optimised program, as JAX gives it."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.experimental import topologies
    from jax.sharding import Mesh, NamedSharding

    from aljax.inference import make_predict
    from aljax.learner import init
    from aljax.machine.devices import AXIS, EVERYWHERE, SPLIT, Devices
    from aljax.training import LabelledSet, make_train

    topology = topologies.get_topology_desc(
        platform="cuda", target_config=TARGET.read_text(), topology=f"1x1x{count}"
    )
    devices = Devices(Mesh(np.array(topology.devices), (AXIS,)))

    def put(tree, spec=EVERYWHERE):
        place = NamedSharding(devices.mesh, spec)
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), tree
        )

    def integers(*shape):
        return jax.ShapeDtypeStruct(shape, jnp.int32)

    learner = _learner(model, precision)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(partial(init, learner), key)
    images = jax.ShapeDtypeStruct((POOL, *learner.blueprint.image_shape), jnp.uint8)
    if phase == "score":
        given = put((state.variables, state.loss_params, images))
        indices = put(integers(SCORE_BATCH), SPLIT)
        return make_predict(learner, devices).lower(*given, indices).compile()
    labelled = LabelledSet(integers(POOL), integers())
    given = put((state, images, integers(POOL), labelled, key, integers()))
    return make_train(learner, devices).lower(*given).compile()


def count(name: str) -> dict[str, Any]:
    """Compiles one program and counts what a device does in a step of it."""
    from tests.support import hlo

    model, precision, phase, devices = name.split("/")
    compiled = _compile(model, precision, phase, int(devices))
    whole = hlo.read(compiled.as_text())
    step = hlo.step(whole)
    kernels = [i for i in step.values() if i.is_kernel]
    convolutions = [i for i in kernels if i.is_convolution]
    collectives = [i for i in kernels if i.is_collective]
    moved = [hlo.moved(whole, step, i) for i in kernels]
    return {
        "program": name,
        "kernels": len(kernels),
        "small_kernels": sum(size < SMALL for size in moved),
        "gigabytes": sum(moved) / 1e9,
        "convolutions": len(convolutions),
        "convolutions_with_bias_and_relu": sum(
            "Bias" in i.target for i in convolutions
        ),
        "collectives": len(collectives),
        "collective_megabytes": sum(i.bytes for i in collectives) / 1e6,
        "unordered_sums": hlo.unordered_sums(whole),
        "float32_image_megabytes": hlo.images(step, "f32") / 1e6,
        "temporary_gigabytes": compiled.memory_analysis().temp_size_in_bytes / 1e9,
    }


if __name__ == "__main__":
    names = sys.argv[1:]
    rows = map(count, names[1:]) if HERE in names else counts(*names).values()
    for row in rows:
        print(json.dumps(row), flush=True)
