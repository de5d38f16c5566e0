"""The command line: absl flags, in sentences when they are wrong, to an exit status."""

import ast
import difflib
import runpy
import sys
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from aljax import cluster, status
from aljax.checkpoint import PREEMPTED, Preempted, Preemption, quiet
from aljax.config import Config, flatten
from aljax.console import complain
from aljax.experiment import check_batches, check_pools, prepare_data, run_experiment
from aljax.grid import Run, expand, only, shard, validate_grid
from aljax.parallel import EXECUTORS, choose_devices, use_compile_cache
from aljax.results import check_experiment, check_workdir

DONE, ERROR, USAGE = 0, 1, 2
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
    cluster.define_flags(values)


def _define_device_flags(values):
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


def _submit(
    values: flags.FlagValues, config: Config, groups: list[list[Run]], workdir: Path
) -> int:
    """Submits what is unfinished of a grid; knows nothing of this machine's devices."""
    given = values.flag_values_dict()
    cluster.sbatch_options(given)
    check_batches(config, values.devices or cluster.gpus(given) or 1)
    check_workdir(workdir, config)
    check_pools(groups, values.data_dir)
    waiting, left_out = cluster.unfinished(groups, workdir)
    count = f"{len(waiting)} of {len(groups)} tasks; {left_out}"
    if not waiting:
        print(f"{count}; nothing was submitted.")
        return DONE
    script = cluster.array_script(waiting, workdir, given, sys.argv)
    if values.dry_run:
        print(f"{script}\n{count}; nothing was submitted or written.")
        return DONE
    prepare_data(groups, values.data_dir)
    job = cluster.submit(script, workdir)
    print(f"job {job}: {count}.\nlogs: {workdir / cluster.FOLDER / job}_*.log")
    return DONE


def _run(values: flags.FlagValues, config: Config, preemption: Preemption) -> int:
    workdir = Path(
        values.workdir or f"runs/{Path(values['config'].config_filename).stem}"
    )
    validate_grid(config)
    groups = shard(expand(config), values.shard)
    if values.only is not None:
        groups = only(groups, values.only)
    if values.status:
        check_experiment(workdir, config)
        print("\n".join(status.lines(groups, workdir)))
        return DONE
    if values.launcher == "slurm":
        return _submit(values, config, groups, workdir)
    cluster.refuse_flags(values.flag_values_dict())
    use_compile_cache(values.compile_cache_dir)
    devices = choose_devices(values.devices, values.parallel)
    check_batches(config, devices.size)
    check_workdir(workdir, config)
    check_pools(groups, values.data_dir)
    runs = [run for group in groups for run in group]
    if values.dry_run:
        for run in runs:
            print(workdir / run.folder)
        print(f"{len(runs)} runs; nothing was written.")
        return DONE
    failures = run_experiment(
        groups, workdir, config, values.data_dir, devices, preemption
    )
    for failure in failures:
        complain(failure)
    return ERROR if failures else DONE


def main() -> int:
    """Runs what the command line says; returns the exit status.

    0 done · 75 preempted, state saved, the same command goes on · 1 an error, 2 bad
    usage.
    """
    quiet()
    if any(argument in ("--help", "-help", "-h") for argument in sys.argv[1:]):
        values = flags.FlagValues()
        define_flags(values)
        print(f"{_USAGE}\n{values.get_help()}")
        return DONE
    preemption = Preemption()
    preemption.install()
    try:
        values, config = parse()
        return _run(values, config, preemption)
    except Preempted:
        complain("preempted; the state is saved. Run the same command to go on.")
        return PREEMPTED
    except ValueError as error:
        complain(str(error))
        return USAGE
