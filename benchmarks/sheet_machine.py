"""What machine this is: processor, memory, GPUs."""

import os
import subprocess
from typing import Any

# What decides how fast a processor multiplies.
FEATURES = (
    *("avx2", "fma", "avx512f", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_bf16", "amx_int8", "asimd", "sve", "bf16"),
)
QUERIED = ("name", "memory.total", "driver_version", "power.limit", "clocks.max.sm")


def machine() -> dict[str, Any]:
    """Processor by `lscpu`, GPUs by `nvidia-smi`; what a machine lacks is left out."""
    lines = _said("lscpu").splitlines()
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    told = {name.strip(): text.strip() for name, text in told.items()}
    known = set(told.get("Flags", "").split())
    wanted = ("Model name", "CPU family", "Model", "Socket(s)", "CPU(s)", "L3 cache")
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "lscpu": {name: told[name] for name in wanted if name in told},
        "features": [name for name in FEATURES if name in known],
        "memory_bytes": pages,
        "gpus": _gpus(),
    }


def _gpus() -> list[dict[str, str]]:
    queried = f"--query-gpu={','.join(QUERIED)}"
    lines = _said("nvidia-smi", queried, "--format=csv,noheader").splitlines()
    rows = [[cell.strip() for cell in line.split(",")] for line in lines]
    good = [row for row in rows if len(row) == len(QUERIED)]
    return [dict(zip(QUERIED, row, strict=True)) for row in good]


def _said(*command: str) -> str:
    """What a command prints; nothing where there is none, or where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if done.returncode else done.stdout
