"""What the tests of odd images share: a cache of their own, warnings, a stranger."""

import os
import tempfile
from pathlib import Path

import pytest
from absl import logging


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "aljax"


@pytest.fixture
def warnings_said(monkeypatch) -> list[str]:
    """Every warning that is logged, as text."""
    said: list[str] = []
    monkeypatch.setattr(
        logging, "warning", lambda text, *args: said.append(text % args)
    )
    return said


@pytest.fixture
def stranger():
    """A folder that all may enter, and a process which is not root in it."""
    if os.geteuid():
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)
