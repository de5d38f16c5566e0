"""Flags and a configuration from the command line, or one sentence on what is wrong."""

import ast
import difflib
import re
import sys

from absl import flags
from ml_collections import config_flags

from aljax import recipes
from aljax.config import Config, flatten
from aljax.grid import grid_without
from aljax.launch import slurm
from aljax.machine import processes
from aljax.machine.devices import COMPILE_CACHE, EXECUTORS
from aljax.machine.terminal import complain

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
    flags.DEFINE_bool(
        "report",
        True,
        "Write WORKDIR/report once no run is left to do; --noreport leaves it out.",
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
        inside = [field for field in known if field.startswith(f"{name}.")]
        if inside:
            raise ValueError(
                f"--config.{name} has fields of its own; set one of them: "
                f"{', '.join(f'--config.{field}' for field in inside)}."
            )
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"; did you mean --config.{near[0]}?" if near else "."
        top = sorted({field.split(".")[0] for field in known})
        raise ValueError(
            f"--config.{name}: there is no such field{hint} "
            f"The fields are: {', '.join(top)}."
        )


def _settle_sweep(config: Config, overrides: list[str]) -> None:
    """Takes a field out of a recipe's grid that the command line sets to one value.

    Raises:
        ValueError: the command line sets the field and a grid over it.
    """
    given = {argument.lstrip("-").split("=", 1)[0] for argument in overrides[1:]}
    swept = config.sweep if isinstance(config.sweep, dict) else {}
    for name in [name for name in swept if f"config.{name}" in given]:
        if "config.sweep" in given:
            raise ValueError(
                f"--config.{name} sets one value, and --config.sweep others; leave one "
                "of them out."
            )
        values = ", ".join(map(str, swept[name]))
        complain(
            f"--config.{name} takes the place of the recipe's grid over {name} "
            f"({values})."
        )
        config.sweep = grid_without(config, name)


def _refuse_unused(config: Config, overrides: list[str]) -> None:
    """Refuses settings of an optimizer that no run uses: ValueError names one."""
    swept = config.sweep if isinstance(config.sweep, dict) else {}
    used = swept.get("optimizer", [config.optimizer])
    if not isinstance(used, (list, tuple)):
        return  # which is refused with the grid
    for argument in overrides[1:]:
        field = argument.lstrip("-").split("=", 1)[0]
        _, *parts = field.split(".")
        if parts[0] == "optimizers" and len(parts) == 3 and parts[1] not in used:
            raise ValueError(
                f"--{field} is of an optimizer that no run uses; leave it out, or add "
                f"--config.optimizer={parts[1]} (now {', '.join(map(str, used))})."
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
            before = argv[argv.index(rest[1]) - 1] if rest[1] in argv else ""
            if before.lstrip("-").startswith("config.") and "=" not in before:
                raise ValueError(f"{before} {rest[1]}: write {before}={rest[1]}.")
            near = difflib.get_close_matches(rest[1], ("report", *values), n=1)
            dashes = "" if near == ["report"] else "--"
            hint = f" Did you mean {dashes}{near[0]}?" if near else ""
            raise ValueError(
                f"{rest[1]!r} is not a flag; all flags begin with --.{hint}"
            )
        config = recipes.load_config(values.config)
        _check_overrides(argv, config)
        overrides = [argv[0], *(a for a in argv if a not in plain)]
        config_flags.DEFINE_config_dataclass(
            "config", config, flag_values=fields, sys_argv=overrides
        )
        fields(overrides)
        _settle_sweep(fields.config, overrides)
        _refuse_unused(fields.config, overrides)
    except flags.Error as error:
        raise ValueError(_in_plain_words(str(error), values)) from error
    return values, fields.config


# What Python and absl say of a value, and what it means.
_PLAIN = {
    r"invalid literal for int\(\).*": "give a whole number",
    r"could not convert string to float.*": "give a number",
    r"\('Non-boolean argument.*": "give true or false",
}


def _in_plain_words(text: str, values: flags.FlagValues) -> str:
    """Makes a sentence for a person of what absl says."""
    for said, meant in _PLAIN.items():
        text = re.sub(f"^flag (--.*): {said}$", rf"\1: {meant}.", text, flags=re.S)
    text = text.removeprefix("flag ").removeprefix("ERROR:: ")
    unknown = re.match("Unknown command line flag '(.*?)'", text)
    if not unknown:
        return text if text.endswith((".", "?")) else f"{text}."
    known = [*values, *(f"config.{field}" for field in flatten(Config()))]
    name = unknown[1]
    near = [k for k in known if k == f"config.{name}"]
    near = near or difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean --{near[0]}?" if near else " --help lists what there is."
    if name.startswith("slurm_"):
        option = name.removeprefix("slurm_").replace("_", "-")
        hint += f" Other options of sbatch go as --slurm_options={option}=…"
    return f"--{name}: there is no such flag.{hint}"


def usage() -> str:
    """What `--help` prints."""
    values = flags.FlagValues()
    define_flags(values)
    listed = [
        f"  {name:22}{recipes.summary(path)}"
        for name, path in recipes.shipped().items()
    ]
    return "\n".join([_USAGE, "Recipes:", *listed, values.get_help()])
