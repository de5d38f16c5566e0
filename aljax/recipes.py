"""Recipes: files with `get_config()`, those that come with aljax and a person's own."""

import ast
import difflib
import inspect
import os
import runpy
import sys
import traceback
from pathlib import Path

from aljax.config import Config
from aljax.registered import check_registered

DEFAULT = "quickstart"
_PACKAGE = Path(__file__).resolve().parent


def shipped() -> dict[str, Path]:
    """The files of the recipes that come with aljax, by name, in order.

    They lie in the package once it is installed, and in `configs/` in a checkout.
    """
    inside = _PACKAGE / "configs"
    folder = inside if inside.is_dir() else _PACKAGE.parent / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.py"))}


def summary(path: Path) -> str:
    """The first line of a recipe's docstring; the file is not executed."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]


def name_of(text: str) -> str:
    """What a recipe is called, given what `--config` says: its file without `.py`."""
    return Path(text.split(":", 1)[0]).stem


def load_config(text: str) -> Config:
    """Executes a recipe once, and returns the configuration that it gives.

    Whatever the file registers while it is executed, as in `aljax.STRATEGIES["mine"] =
    …`, its configuration may name.

    Args:
        text: a file, or the name of a recipe that comes with aljax; behind a colon, an
            argument for `get_config`.

    Raises:
        ValueError: one sentence on what is wrong with the file, and where.
    """
    name, *argument = text.split(":", 1)
    path = _find(text, name)
    namespace = _call(text, path, lambda: runpy.run_path(str(path)))
    check_registered()
    get_config = namespace.get("get_config")
    if not callable(get_config):
        raise ValueError(f"--config={text}: the file has no function get_config().")
    if argument and not inspect.signature(get_config).parameters:
        raise ValueError(f"--config={text}: this recipe has no parts; write {name}.")
    config = _call(text, path, lambda: get_config(*argument))
    if not isinstance(config, Config):
        raise ValueError(
            f"--config={text}: get_config() gives a {type(config).__name__}; "
            "it must give an aljax.Config."
        )
    return config


def _find(text: str, name: str) -> Path:
    path, recipes = Path(os.path.expanduser(name)), shipped()
    try:
        if path.is_file():
            return path
    except (OSError, ValueError):
        pass  # no file can have this name
    if name in recipes:
        return recipes[name]
    near = difflib.get_close_matches(path.stem.lower(), recipes, n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    what = "this is a folder" if os.path.isdir(path) else "there is no such file"
    raise ValueError(
        f"--config={text}: {what}, and no recipe of that name{hint} "
        f"The recipes are: {', '.join(recipes)}."
    )


def _call(text: str, path: Path, step):
    """Runs a piece of a person's file; what goes wrong there is told with its line."""
    try:
        return step()
    # Whatever it is, it is of the file, whose author wants to know the line.
    except (Exception, SystemExit) as error:  # noqa: BLE001
        what = " ".join(str(error).split())
        if isinstance(error, SyntaxError) and error.filename == str(path):
            what, where = error.msg, f"line {error.lineno}"
        else:
            frames = traceback.extract_tb(sys.exc_info()[2])
            lines = [f.lineno for f in frames if f.filename == str(path)]
            where = f"line {lines[-1]}" if lines else "the file"
        raise ValueError(
            f"--config={text}: {where} fails with {type(error).__name__}"
            + (f": {what}" if what else "")
            + ("" if what.endswith(".") else ".")
        ) from error
