"""The allocator's settings: added, never overriding, and only once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aljax.machine.allocator import TUNABLES, glibc, tunables

ROOT = Path(__file__).parents[2]
SCRIPT = """
import os, sys
from aljax.machine import allocator
allocator.prepare()
print(os.environ.get("GLIBC_TUNABLES", "none"), sys.argv[1:], "jax" in sys.modules)
"""

COMPILE = """
import sys
from pathlib import Path
from aljax.machine import allocator
allocator.prepare()
import jax
import numpy as np

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(x for x in lines if x.startswith("RssAnon")).split()[1]) // 1024

from jax._src.monitoring import get_event_duration_listeners

listeners = len(get_event_duration_listeners())
if sys.argv[1] != "kept":
    allocator.trim_after_compiling()
    allocator.trim_after_compiling()
    assert len(get_event_duration_listeners()) == listeners + 1
jax.device_count()
held = np.ones(2**25)  # 256 MiB
del held
before = resident()
seconds = 0.1 if sys.argv[1] == "short" else 2.0
jax.monitoring.record_event_duration_secs(allocator.COMPILED, seconds)
print(before - resident())
"""


def test_tunables_are_appended_and_what_is_set_stays():
    assert tunables("") == ":".join(f"{k}={v}" for k, v in TUNABLES.items())
    mixed = tunables("glibc.malloc.hugetlb=0:glibc.rtld.nns=4")
    assert mixed.startswith("glibc.malloc.hugetlb=0:glibc.rtld.nns=4:")
    assert mixed.count("hugetlb") == 1
    assert tunables(mixed) == mixed


def script(tmp_path, text=SCRIPT, flag="--flag=1", **environment):
    path = tmp_path / "script.py"
    path.write_text(text)
    keep = {k: v for k, v in os.environ.items() if k not in ("GLIBC_TUNABLES",)}
    keep.pop("ALJAX_ENVIRONMENT", None)
    return subprocess.run(
        [sys.executable, str(path), flag],
        env=keep | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


def test_starts_itself_again_before_anything_is_loaded(tmp_path):
    printed = script(tmp_path)
    assert printed in (
        f"{tunables('')} ['--flag=1'] False\n",
        "none ['--flag=1'] False\n",  # not glibc 2.35
    )


def test_can_be_told_not_to(tmp_path):
    printed = script(tmp_path, ALJAX_ENVIRONMENT="keep")
    assert printed == "none ['--flag=1'] False\n"


@pytest.mark.skipif(
    glibc() < (2, 35) or sys.platform != "linux", reason="needs glibc 2.35 on Linux"
)
def test_what_is_free_after_long_compiling_is_given_back(tmp_path):
    assert int(script(tmp_path, COMPILE, "given")) > 200
    assert int(script(tmp_path, COMPILE, "kept")) < 50
    assert int(script(tmp_path, COMPILE, "short")) < 50
