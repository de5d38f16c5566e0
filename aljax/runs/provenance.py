"""Where numbers come from: versions, commit, device, settings, images."""

import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import aljax
from aljax.data import Dataset
from aljax.machine import numerics, processes
from aljax.machine.devices import Devices, choose_devices, processor
from aljax.models.conv import kernels

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def provenance(devices: Devices | None = None) -> dict[str, Any]:
    """Versions, commit and device: what a number needs beside it to be believed."""
    devices = devices or choose_devices()
    device = devices.mesh.devices.flat[0]
    return {
        "versions": {"aljax": aljax.__version__}
        | {name: _version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
        "commit": commit(),
        "device": f"{devices.size} x {device.device_kind}"
        + (f" ({processor()})" if device.platform == "cpu" else ""),
        "parallel": devices.executor,
        "kernels": _kernels(device.platform),
        "processes": processes.count(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "jax_settings": numerics.SETTINGS,
    }


def _kernels(platform: str) -> str | None:
    """Whether aljax's own kernels convolve on a CPU, or why not; None elsewhere."""
    if platform != "cpu":
        return None
    missing = kernels.missing()
    if missing:
        return f"none: {missing}"
    tiles = kernels.tiles()
    known = {"off": "", "on": ", AMX for bfloat16", "avx512": ", AVX-512 for bfloat16"}
    return kernels.SOURCE.name + known.get(tiles, f", AMX {tiles}")


def _version(package: str) -> str | None:
    """Of a package; None where it is not installed, as it need not be to measure."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """The commit of aljax that runs, with "-dirty" if its checkout was changed.

    Never that of a repository around it, such as one that holds the environment into
    which it was installed; None where an installed package does not know its own.
    """
    found = [*metadata.distributions(name="aljax")]  # none where it is not installed
    origin = found[0].read_text("direct_url.json") if found else None
    installed = json.loads(origin or "{}").get("vcs_info", {}).get("commit_id")
    root = Path(__file__).resolve().parents[2]
    describe = "describe --always --dirty --abbrev=12 --exclude=*"
    try:
        inside = _git(root, "rev-parse", "--show-toplevel")
        return _git(root, *describe.split()) if Path(inside) == root else installed
    except (OSError, subprocess.CalledProcessError):
        return installed


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


def about_images(dataset: Dataset) -> dict[str, Any]:
    """What a report says of the images: classes, shape, images of each class."""

    def counts(labels):
        return np.bincount(labels, minlength=len(dataset.classes)).tolist()

    return {
        "class_names": list(dataset.classes),
        "image_shape": list(dataset.train_images.shape[1:]),
        "pool_class_counts": counts(dataset.train_labels),
        "test_class_counts": counts(dataset.test_labels),
    }
