"""Flags and a configuration from the command line, or one sentence on what is wrong."""

import ast
import difflib
import runpy
import sys
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from aljax import cluster, processes
from aljax.config import Config, flatten
from aljax.parallel import EXECUTORS

_CONFIGS = Path(__file__).parent.parent / "configs"
_USAGE = """python launch.py [--config=FILE [--config.FIELD=VALUE ...]] [FLAGS]

Runs an active-learning experiment; the same command again goes on where it stopped.
--config names a file with get_config() (default: configs/quickstart.py), and
--config.FIELD=VALUE sets a field of it, such as --config.optimizer=adamw.
"""


class _Integer(flags.IntegerParser):
    """Reads an integer, or "none" for a field that may be left out."""

    def convert(self, argument):
        none = isinstance(argument, str) and argument.lower() == "none"
        return None if none else super().convert(argument)

    def is_outside_bounds(self, value):
        return value is not None and super().is_outside_bounds(value)


class _Literal(flags.ArgumentParser):
    """Reads a Python literal, for `sweep`."""

    def parse(self, argument):
        if not isinstance(argument, str):
            return argument
        try:
            return ast.literal_eval(argument)
        except (ValueError, SyntaxError) as error:
            raise ValueError(
                f"{argument!r} is not a dict of lists, such as "
                "{'strategy': ('random', 'entropy')}"
            ) from error


def define_flags(values: flags.FlagValues) -> None:
    """Defines every flag of `launch.py` but `--config`."""
    config_flags.register_flag_parser_for_type(int, _Integer())
    config_flags.register_flag_parser_for_type(dict, _Literal())
    flags.DEFINE_string(
        "workdir",
        None,
        "Folder of the results (default: runs/NAME OF THE CONFIG). The same folder "
        "again goes on where it stopped.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "data_dir",
        None,
        "Where tensorflow-datasets keeps prepared datasets (default: its own).",
        flag_values=values,
    )
    flags.DEFINE_string(
        "shard", None, "K/N: the K-th of N parts of the runs.", flag_values=values
    )
    flags.DEFINE_string(
        "only", None, "Only the run in this folder of the workdir.", flag_values=values
    )
    flags.DEFINE_bool(
        "dry_run",
        False,
        "Validate, list the runs or show what would be submitted, stop.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "status",
        False,
        "Say how far each run in the workdir is, stop.",
        flag_values=values,
    )
    _define_device_flags(values)
    processes.define_flags(values)
    cluster.define_flags(values)


def _define_device_flags(values):
    flags.DEFINE_integer(
        "runs_per_node",
        1,
        "How many runs go side by side, each a process with its share of this "
        "machine's GPUs, or of its cores.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "devices",
        None,
        "How many devices share each batch, the first ones (default: all).",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "parallel",
        EXECUTORS[0],
        EXECUTORS,
        "What maps the programs over the devices; the results are the same.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "compile_cache_dir",
        "~/.cache/aljax/programs",
        "Where compiled programs are kept; empty: nowhere.",
        flag_values=values,
    )


def _check_overrides(argv: list[str], config: Config) -> None:
    """Refuses `--config.FIELD` where there is no such field, and names the nearest."""
    known = flatten(config)
    known = known | {"sweep": None}
    for argument in argv:
        name = argument.lstrip("-").split("=", 1)[0]
        if not argument.startswith("-") or not name.startswith("config."):
            continue
        name = name.removeprefix("config.")
        if name in known or name.removeprefix("no") in known:
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"; did you mean --config.{near[0]}?" if near else "."
        top = sorted({field.split(".")[0] for field in known})
        raise ValueError(
            f"--config.{name}: there is no such field{hint} "
            f"The fields are: {', '.join(top)}."
        )


def _load(path: str) -> Config:
    """Runs a configuration file; errors in one sentence."""
    name, *argument = path.split(":", 1)
    if not Path(name).is_file():
        raise ValueError(
            f"--config={path}: there is no such file; "
            f"the recipes are in {_CONFIGS}: "
            f"{', '.join(sorted(p.name for p in _CONFIGS.glob('*.py')))}."
        )
    get_config = runpy.run_path(name).get("get_config")
    if get_config is None:
        raise ValueError(f"--config={path}: the file has no function get_config().")
    try:
        config = get_config(*argument)
    except TypeError as error:  # an unknown field, or an argument it does not take
        raise ValueError(f"--config={path}: {error}.") from error
    if not isinstance(config, Config):
        raise ValueError(
            f"--config={path}: get_config() gives a {type(config).__name__}; "
            "it must give an aljax.config.Config."
        )
    return config


def parse() -> tuple[flags.FlagValues, Config]:
    """Reads the command line of this process.

    Raises:
        ValueError: one sentence on what is wrong with it.
    """
    argv = sys.argv
    plain = [a for a in argv if not a.lstrip("-").startswith(("config.", "noconfig."))]
    first, values = flags.FlagValues(), flags.FlagValues()
    define_flags(first)
    flags.DEFINE_string(
        "config", str(_CONFIGS / "quickstart.py"), "", flag_values=first
    )
    define_flags(values)
    try:
        rest = first(plain)
        if len(rest) > 1:
            raise ValueError(f"{rest[1]!r} is not a flag; all flags begin with --.")
        _check_overrides(argv, _load(first.config))
        config_flags.DEFINE_config_file(
            "config",
            first.config,
            "File with get_config(); --config.FIELD=VALUE sets a field of it.",
            flag_values=values,
        )
        values(argv)
    except flags.Error as error:
        raise ValueError(str(error)) from error
    return values, values.config


def usage() -> str:
    """What `--help` prints."""
    values = flags.FlagValues()
    define_flags(values)
    return f"{_USAGE}\n{values.get_help()}"
