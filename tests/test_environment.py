"""The allocator's settings: added, never overriding, and only once."""

import os
import subprocess
import sys
from pathlib import Path

from aljax.environment import TUNABLES, tunables

ROOT = Path(__file__).parent.parent
SCRIPT = """
import os, sys
from aljax import environment
environment.prepare()
print(os.environ.get("GLIBC_TUNABLES", "none"), sys.argv[1:], "jax" in sys.modules)
"""


def test_tunables_are_appended_and_what_is_set_stays():
    assert tunables("") == ":".join(f"{k}={v}" for k, v in TUNABLES.items())
    mixed = tunables("glibc.malloc.hugetlb=0:glibc.rtld.nns=4")
    assert mixed.startswith("glibc.malloc.hugetlb=0:glibc.rtld.nns=4:")
    assert mixed.count("hugetlb") == 1
    assert tunables(mixed) == mixed


def script(tmp_path, **environment):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    keep = {k: v for k, v in os.environ.items() if k not in ("GLIBC_TUNABLES",)}
    keep.pop("ALJAX_ENVIRONMENT", None)
    return subprocess.run(
        [sys.executable, str(path), "--flag=1"],
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
