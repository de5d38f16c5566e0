"""The command line of one group of runs, out of that of their grid."""

import sys
from pathlib import Path

from absl import flags

# What picks runs, says where they run, or only shows them.
_DROPPED = ("launcher", "shard", "only", "runs_per_node")
_DROPPED_SWITCHES = ("dry_run", "nodry_run")


def _program(path: str) -> list[str]:
    """How to start the program `path` again: a script, or the package itself."""
    if Path(path).name == "__main__.py":
        return [sys.executable, "-m", "aljax"]
    return [sys.executable, str(Path(path).absolute())]


def task_command(argv: list[str]) -> list[str]:
    """The command `argv`, less what picks runs and where they run; add `--only`."""
    kept, skip = [], False
    # Of a flag file what it says now, less what is for this process.
    for argument in flags.FlagValues().read_flags_from_files(argv[1:]):
        name, equals, _ = argument.lstrip("-").partition("=")
        is_flag = argument.startswith("-") and not skip
        dropped = name in _DROPPED or name.startswith("slurm_")
        if not skip and not (is_flag and (dropped or name in _DROPPED_SWITCHES)):
            kept.append(argument)
        skip = is_flag and dropped and not equals
    return [*_program(argv[0]), *kept, "--launcher=local", "--runs_per_node=1"]
