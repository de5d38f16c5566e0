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
    """And what computes products of bfloat16, or that better could."""
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


def tiles_here():
    """What can compute tiles, the best first."""
    dots = "avx512_bf16" in kernels._flags().split()
    return ["on"] * kernels._has_tiles() + ["avx512"] * dots + ["off", "emulated"]


def test_what_is_compiled_is_found_without_a_compiler():
    if kernels.missing():
        pytest.skip(kernels.missing())
    found = everything_said(Path.home(), CXX="no-such-compiler")
    assert found == ("", True, tiles_here()[0])


def test_a_compiler_that_does_not_know_tiles(tmp_path):
    if kernels.missing() or tiles_here()[0] == "off":
        pytest.skip(kernels.missing() or "this processor has no products of bfloat16")
    cxx = os.environ.get("CXX", "c++")
    unknown = "-U__AMX_BF16__ -U__AVX512BF16__"
    old = compiler(tmp_path, f'exec {cxx} "$@" {unknown}')
    assert everything_said(tmp_path, CXX=old) == ("", True, "off unused")
    assert everything_said(tmp_path, CXX=old, ALJAX_AMX="off") == ("", True, "off")
    missing, _, _ = everything_said(tmp_path, CXX=old, ALJAX_AMX=tiles_here()[0])
    assert "does not know" in missing


def test_a_choice_of_tiles(tmp_path):
    if kernels.missing():
        pytest.skip(kernels.missing())
    with pytest.raises(AssertionError, match="choose off or on or avx512 or emulated"):
        said(tmp_path, ALJAX_AMX="maybe")
    for choice, words in ("on", "no AMX with"), ("avx512", "no AVX-512 with"):
        if choice in tiles_here():
            continue
        with pytest.raises(AssertionError, match=f"{words} bfloat16"):
            said(tmp_path, ALJAX_AMX=choice)


@pytest.mark.parametrize("choice", ["avx512", "emulated"])
def test_tiles(choice):
    """In a process of its own; plain C++ computes as if this machine had them."""
    if kernels.missing():
        pytest.skip(kernels.missing())
    if choice not in tiles_here():
        pytest.skip("this processor has no AVX-512 with bfloat16")
    if choice == kernels.tiles():
        pytest.skip("test_amx.py tests them in this process")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "tests/models/conv/test_amx.py"],
        env=os.environ | {"ALJAX_AMX": choice},
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stdout
    assert "SKIPPED" not in done.stdout
