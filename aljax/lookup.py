"""Look a name up in a table, and say which names there are when it is not in it."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def lookup(table: Mapping[str, T], field: str, name: str) -> T:
    """The entry called `name` in `table`.

    Args:
        table: entries by name; the error lists the names in the table's order.
        field: what the user sets, as the user writes it: `--config.model`.
        name: the value which the user gave.

    Raises:
        ValueError: no such name; the message gives the nearest one and all of them.
    """
    if name in table:
        return table[name]
    near = [known for known in table if known.lower() == str(name).lower()]
    near = near or difflib.get_close_matches(str(name), table, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    choices = ", ".join(table)
    raise ValueError(f"{field}: unknown value {name!r}{hint} Choose one of: {choices}.")
