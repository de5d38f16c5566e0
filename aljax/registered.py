"""What a person has registered, checked before anything is made of it."""

import dataclasses
import re
from typing import Any

from aljax.data import DATASETS, Source
from aljax.models import MODELS
from aljax.optimizers import OPTIMIZERS
from aljax.strategies import STRATEGIES, Strategy

# Names become folders, words of commands and of tables.
_NAME = re.compile(r"\w[\w.+-]*")


def _is_optimizer(entry: Any) -> bool:
    if not (isinstance(entry, type) and dataclasses.is_dataclass(entry)):
        return False
    names = {field.name for field in dataclasses.fields(entry)}
    return "learning_rate" in names and callable(getattr(entry, "direction", None))


_TABLES = (
    (
        "STRATEGIES",
        STRATEGIES,
        lambda entry: isinstance(entry, Strategy),
        "an aljax.Strategy, as aljax.by_score makes them",
    ),
    (
        "OPTIMIZERS",
        OPTIMIZERS,
        _is_optimizer,
        "a dataclass with a field learning_rate and a method direction()",
    ),
    ("MODELS", MODELS, callable, "what makes a network, such as its class"),
    (
        "DATASETS",
        DATASETS,
        lambda entry: isinstance(entry, Source),
        "an aljax.data.Source",
    ),
)


def check_registered() -> None:
    """Checks every entry of the tables that names are looked up in.

    Raises:
        ValueError: names the table, the entry and what it must be.
    """
    for table, entries, allowed, words in _TABLES:
        for name, entry in entries.items():
            if not (isinstance(name, str) and _NAME.fullmatch(name)):
                raise ValueError(
                    f"aljax.{table}[{name!r}]: a name must be text of letters, digits "
                    "and _ . + -, the first of them a letter, a digit or _."
                )
            if not allowed(entry):
                raise ValueError(
                    f"aljax.{table}[{name!r}] is {entry!r}; it must be {words}."
                )
