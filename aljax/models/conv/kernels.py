"""Compiles `direct.cc` for this processor, once, and tells JAX of what is in it."""

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterable
from pathlib import Path

import jax

SOURCE = Path(__file__).with_name("direct.cc")
INCLUDED = sorted(SOURCE.parent.glob("direct_*.h"))
FUNCTIONS = [
    f"aljax_{name}_{dtype}"
    for name in ("layer", "input_gradient", "kernel_gradient")
    for dtype in ("float32", "bfloat16")
]
OPTIONS = (
    "-std=c++17",
    "-O3",
    "-march=native",
    "-fPIC",
    "-shared",
    "-w",
    "-Wfatal-errors",
)
COMPILE_SECONDS = 120  # after which a compiler is given up
FOLDER = "~/.cache/aljax/kernels"
SWITCH = "ALJAX_KERNELS"  # off: matrix products
# on: products of bfloat16 in the tiles of Intel's AMX; avx512, emulated: by AVX-512 or
# plain C++ as if in them. Where it is not set: the first of on, avx512 and off that the
# processor, Linux and the compiler know. In C++ each is its number.
AMX = "ALJAX_AMX"
_TILES = ("off", "on", "avx512", "emulated")
_NEEDED = {
    "on": "AMX with bfloat16, or Linux does not let this process use it",
    "avx512": "AVX-512 with bfloat16",
}
_REQUEST_PERMISSION, _TILE_DATA = 0x1023, 18  # arch_prctl(2) of Linux


@functools.cache
def missing() -> str:
    """Why there are no kernels of aljax's own in this process; empty if there are.

    The first call compiles them, or finds them compiled, and registers them.
    """
    if _chosen(SWITCH, ("on", "off")) == "off":
        return f"{SWITCH}=off"
    try:
        library = _library()
    except (OSError, subprocess.SubprocessError) as error:
        return _reason(error)
    for name in FUNCTIONS:
        capsule = jax.ffi.pycapsule(getattr(library, name))
        jax.ffi.register_ffi_target(name, capsule, platform="cpu")
    return ""


def _chosen(switch: str, choices: Iterable[str]) -> str | None:
    """What a variable of the environment says; None if it is not set."""
    chosen = os.environ.get(switch)
    if chosen is not None and chosen not in choices:
        raise ValueError(f"{switch}={chosen}: choose {' or '.join(choices)}.")
    return chosen


def tiles() -> str:
    """What computes products of bfloat16 in these kernels: one of `_TILES`.

    Raises:
        OSError, subprocess.SubprocessError: there are no kernels; see `missing`.
        ValueError: they shall, and this processor or its kernel does not let them.
    """
    return _TILES[ctypes.c_int.in_dll(_library(), "aljax_amx").value]


def unused_tiles() -> bool:
    """Whether the compiler does not know what this processor has, and shall use."""
    return tiles() != _wanted_tiles()[0]


def _wanted_tiles() -> list[str]:
    """Of `_TILES`, what to try, the best first; Linux has been asked for AMX."""
    chosen = _chosen(AMX, _TILES)
    there = {"on": _has_tiles(), "avx512": "avx512_bf16" in _flags().split()}
    if chosen is None:
        return [name for name in there if there[name]] + ["off"]
    if not there.get(chosen, True):
        raise ValueError(
            f"{AMX}={chosen}: this processor has no {_NEEDED[chosen]}; unset {AMX}."
        )
    return [chosen]


def _has_tiles() -> bool:
    """Whether there is AMX with bfloat16, and Linux lets this process use it."""
    if "amx_bf16" not in _flags().split() or platform.machine() != "x86_64":
        return False
    arch_prctl = 158
    call = ctypes.CDLL(None).syscall
    return call(arch_prctl, _REQUEST_PERMISSION, _TILE_DATA) == 0


@functools.cache
def _library() -> ctypes.CDLL:
    """What was compiled, now or earlier, with the best tiles that a compiler knows."""
    *better, last = _wanted_tiles()
    for choice in better:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            return _compiled(choice)
    return _compiled(last)


def _compiled(choice: str) -> ctypes.CDLL:
    """What was compiled with one of `_TILES`, now or earlier."""
    options = (*OPTIONS, f"-D{AMX}={_TILES.index(choice)}")
    c_api = Path(jax.ffi.include_dir(), "xla/ffi/api/c_api.h")
    files = SOURCE, *INCLUDED, c_api
    made_of = b"".join(file.read_bytes() for file in files)
    made_of += f"{options} {_flags()} {platform.libc_ver()}".encode()
    name = f"direct-{hashlib.sha256(made_of).hexdigest()[:16]}.so"
    folder = Path(os.path.expanduser(FOLDER))
    if (folder / name).exists():
        return ctypes.CDLL(str(folder / name))
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        raise FileNotFoundError("there is no C++ compiler (c++, or what CXX names)")
    if _can_keep(folder):
        return _compile(compiler, options, folder / name)
    # A library that is loaded needs its file no more.
    with tempfile.TemporaryDirectory(prefix="aljax-kernels-") as own:
        return _compile(compiler, options, Path(own) / name)


def _compile(compiler: str, options: tuple[str, ...], library: Path) -> ctypes.CDLL:
    """Compiles and loads the kernels, and leaves them there if they load."""
    # Machines that share a home may have processes of the same number.
    partly = library.with_name(f"{library.name}.{uuid.uuid4().hex}")
    include = f"-I{jax.ffi.include_dir()}"
    command = [compiler, *options, include, str(SOURCE), "-o", str(partly)]
    limits = {"check": True, "timeout": COMPILE_SECONDS}
    try:
        subprocess.run(command, capture_output=True, text=True, **limits)
        loaded = ctypes.CDLL(str(partly))  # before anybody else finds it
        partly.replace(library)
        return loaded
    finally:
        partly.unlink(missing_ok=True)


def _can_keep(folder: Path) -> bool:
    """Whether libraries can be written there."""
    if not folder.is_absolute():  # there is no home
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _flags() -> str:
    """What this processor can do; machines that share a home may differ."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((x for x in lines if x.startswith(("flags", "Features"))), "")


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"the C++ compiler took longer than {COMPILE_SECONDS} s"
    if isinstance(error, subprocess.CalledProcessError):
        lines = error.stderr.strip().splitlines() or [f"status {error.returncode}"]
        said = next((line for line in lines if "error" in line), lines[0])
        return f"the C++ compiler failed: {said}"
    return str(error)
