"""Look a name up, and say which names there are when it is none of them."""

import difflib
from collections.abc import Collection, Mapping
from typing import TypeVar

T = TypeVar("T")


def check_name(names: Collection[str], field: str, name: str) -> None:
    """Refuses a name that is none of `names`.

    Args:
        names: which there are; the error lists them in this order.
        field: what the user sets, as the user writes it: `--config.model`.
        name: the value which the user gave.

    Raises:
        ValueError: gives the nearest name and all of them.
    """
    if name in names:
        return
    near = [known for known in names if known.lower() == str(name).lower()]
    near = near or difflib.get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    choices = ", ".join(names)
    raise ValueError(f"{field}: unknown value {name!r}{hint} Choose one of: {choices}.")


def lookup(table: Mapping[str, T], field: str, name: str) -> T:
    """The entry called `name` in `table`, once `check_name` has passed it."""
    check_name(table, field, name)
    return table[name]
