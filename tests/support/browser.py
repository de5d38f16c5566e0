"""Debian's Chromium without a window, to look at pages as a person would."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


def find_browser() -> str:
    """Path of the browser; skips the test where there is none."""
    pytest.importorskip("playwright", reason="playwright is not installed")
    known = filter(None, map(shutil.which, PROGRAMS))
    found = os.environ.get("CHROMIUM") or next(known, None)
    if not found:
        pytest.skip("Chromium is not installed")
    return found


@contextmanager
def browser() -> Iterator[Any]:
    """A running browser of playwright's."""
    program = find_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=FLAGS)
        try:
            yield running
        finally:
            running.close()
