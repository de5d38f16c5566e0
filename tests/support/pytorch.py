"""PyTorch's answers, from this Python or from another one that has PyTorch.

PyTorch's builds for CPUs are not to be had for every Python. Where this one has none,
TORCH_PYTHON may name the interpreter of one that does.
"""

import os
import pickle
import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

OTHER = os.environ.get("TORCH_PYTHON", "")
if find_spec("torch") is None and not OTHER:
    pytest.skip(
        "parity is measured against PyTorch: install it, or set TORCH_PYTHON to a "
        "Python that has it",
        allow_module_level=True,
    )


def ask(question: str, *arguments: Any, **named: Any) -> Any:
    """Calls a function of `torch_answers.py`, where PyTorch is."""
    if find_spec("torch") is not None:
        from tests.support import torch_answers

        return getattr(torch_answers, question)(*arguments, **named)
    answerer = _other()
    pickle.dump((question, arguments, named), answerer.stdin)
    answerer.stdin.flush()
    return pickle.load(answerer.stdout)


@cache
def _other() -> subprocess.Popen:
    """A process that answers until this one ends."""
    return subprocess.Popen(
        [OTHER, "-m", "tests.support.pytorch_process"],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
