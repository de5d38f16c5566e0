"""Flags and a configuration from the command line, or one sentence on what is wrong."""

import ast
import difflib
import sys

from absl import flags
from ml_collections import config_flags

from aljax import recipes
from aljax.config import Config, flatten
from aljax.launch import slurm
from aljax.machine import processes
from aljax.machine.devices import COMPILE_CACHE, EXECUTORS

_USAGE = """\
aljax [--config=RECIPE [--config.FIELD=VALUE ...]] [FLAGS]
aljax report --workdir=FOLDER

Runs an active-learning experiment; the same command again goes on where it stopped.
--config is a file with get_config(), or one of the recipes below (default: quickstart),
and --config.FIELD=VALUE sets a field of it, such as --config.optimizer=adamw.
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
    """Defines every flag of the command but `--config`."""
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
    slurm.define_flags(values)


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
        COMPILE_CACHE,
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


def parse() -> tuple[flags.FlagValues, Config]:
    """Reads the command line of this process; executes its recipe once.

    Returns:
        Values of all flags (that of `--config` is what the person wrote), and the
        configuration with its fields set.

    Raises:
        ValueError: one sentence on what is wrong with it.
    """
    argv = sys.argv
    plain = [a for a in argv if not a.lstrip("-").startswith(("config.", "noconfig."))]
    values, fields = flags.FlagValues(), flags.FlagValues()
    define_flags(values)
    flags.DEFINE_string("config", recipes.DEFAULT, "The recipe.", flag_values=values)
    try:
        rest = values(plain)
        if len(rest) > 1:
            raise ValueError(f"{rest[1]!r} is not a flag; all flags begin with --.")
        config = recipes.load_config(values.config)
        _check_overrides(argv, config)
        overrides = [argv[0], *(a for a in argv if a not in plain)]
        config_flags.DEFINE_config_dataclass(
            "config", config, flag_values=fields, sys_argv=overrides
        )
        fields(overrides)
    except flags.Error as error:
        raise ValueError(str(error)) from error
    return values, fields.config


def usage() -> str:
    """What `--help` prints."""
    values = flags.FlagValues()
    define_flags(values)
    listed = [
        f"  {name:22}{recipes.summary(path)}"
        for name, path in recipes.shipped().items()
    ]
    return "\n".join([_USAGE, "Recipes:", *listed, values.get_help()])
