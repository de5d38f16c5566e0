"""Nested dictionaries of weights as flat ones."""

from typing import Any


def flatten(tree: dict, prefix: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Nested dictionaries -> {path: leaf}."""
    flat = {}
    for key, value in tree.items():
        path = (*prefix, key)
        flat |= flatten(value, path) if isinstance(value, dict) else {path: value}
    return flat
