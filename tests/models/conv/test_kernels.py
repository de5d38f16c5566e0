"""Without a compiler, or where it fails, products of matrices take over, and say so."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aljax.models.conv import kernels

SAID = """
import json
from aljax.models.conv import direct, kernels
import jax.numpy as jnp
missing = kernels.missing()
fits = direct.fits(jnp.zeros((1, 8, 8, 16)), jnp.zeros((3, 3, 16, 16)))
tiles = "none" if missing else kernels.tiles() + " unused" * kernels.unused_tiles()
print(json.dumps([missing, bool(fits), tiles]))
"""


def said(home, **environment) -> tuple[str, bool]:
    """Why there are no kernels, and whether a layer would take them."""
    return everything_said(home, **environment)[:2]


def everything_said(home, **environment) -> tuple[str, bool, str]:
    """And whether these use AMX."""
    known = {
        name: value
        for name, value in os.environ.items()
        if name not in ("ALJAX_KERNELS", "ALJAX_AMX")
    }
    done = subprocess.run(
        [sys.executable, "-c", SAID],
        env=known | {"HOME": str(home)} | environment,
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr
    return tuple(json.loads(done.stdout))


def compiler(folder, text):
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_compiler_that_is_here_compiles_them():
    """Else every other test of the kernels would be skipped, and none fail."""
    name = os.environ.get("CXX", "c++")
    if not shutil.which(name) or kernels.missing() == "ALJAX_KERNELS=off":
        pytest.skip(f"no C++ compiler {name}, or ALJAX_KERNELS=off")
    assert not kernels.missing()


@pytest.mark.parametrize(
    "text, words",
    [
        (
            "echo 'no such option' >&2; exit 1",
            "the C++ compiler failed: no such option",
        ),
        ("exit 3", "the C++ compiler failed: status 3"),
        ("exit 0", "No such file"),  # nothing was made
        ('for x; do :; done; echo no library > "$x"', "file too short"),
    ],
)
def test_a_compiler_that_fails(tmp_path, text, words):
    missing, fits = said(tmp_path, CXX=compiler(tmp_path, text))
    assert words in missing and not fits


def test_no_compiler(tmp_path):
    missing, fits = said(tmp_path, CXX="no-such-compiler")
    assert "no C++ compiler" in missing and not fits


def test_nothing_can_be_kept(tmp_path):
    """Then each process compiles its own, and leaves nothing."""
    (tmp_path / ".cache").write_text("not a folder")
    own = tmp_path / "own"
    own.mkdir()
    assert said(tmp_path, TMPDIR=str(own))[0] == kernels.missing()
    assert not list(own.iterdir())


def test_the_switch(tmp_path):
    assert said(tmp_path, ALJAX_KERNELS="off") == ("ALJAX_KERNELS=off", False)
    with pytest.raises(AssertionError, match="choose on or off"):
        said(tmp_path, ALJAX_KERNELS="maybe")


def test_what_is_compiled_is_found_without_a_compiler():
    if kernels.missing():
        pytest.skip(kernels.missing())
    usual = "on" if kernels._has_tiles() else "off"
    found = everything_said(Path.home(), CXX="no-such-compiler")
    assert found == ("", True, usual)


def test_a_compiler_that_does_not_know_tiles(tmp_path):
    if kernels.missing() or not kernels._has_tiles():
        pytest.skip(kernels.missing() or "this processor has no AMX")
    cxx = os.environ.get("CXX", "c++")
    old = compiler(tmp_path, f'exec {cxx} "$@" -U__AMX_BF16__')
    assert everything_said(tmp_path, CXX=old) == ("", True, "off unused")
    missing, _, _ = everything_said(tmp_path, CXX=old, ALJAX_AMX="on")
    assert "does not know the AMX" in missing


def test_tiles(tmp_path):
    """Of a process of its own, as if this machine had them, whether it has or not."""
    if kernels.missing():
        pytest.skip(kernels.missing())
    with pytest.raises(AssertionError, match="choose off or on or emulated"):
        said(tmp_path, ALJAX_AMX="maybe")
    if not kernels._has_tiles():
        with pytest.raises(AssertionError, match="no AMX with bfloat16"):
            said(tmp_path, ALJAX_AMX="on")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "tests/models/conv/test_amx.py"],
        env=os.environ | {"ALJAX_AMX": "emulated"},
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stdout
    assert "SKIPPED" not in done.stdout
