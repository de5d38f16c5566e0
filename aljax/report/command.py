"""`aljax report`: makes the page of one or several workdirs at any time."""

import shlex
import sys
from collections.abc import Sequence

from absl import flags

DONE, ERROR, USAGE = 0, 1, 2
_USAGE = """aljax report --workdir=W [--workdir=W2 ...] [FLAGS]

Makes one page of the runs in these folders, whether they are finished, running, failed
or mixed, with its figures and tables beside it. Needs no GPU and no network.
"""


def define_flags(values: flags.FlagValues) -> None:
    """Defines every flag of `aljax report`."""
    flags.DEFINE_multi_string(
        "workdir",
        [],
        "Folder of an experiment; name it again for runs that lie in several.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "out",
        None,
        "Folder of the report (default: report in the first workdir).",
        flag_values=values,
    )
    flags.DEFINE_string(
        "reference",
        None,
        "CSV file of curves to lay under the runs' own (default: published ones).",
        flag_values=values,
    )
    flags.DEFINE_string(
        "data_dir",
        None,
        "Where tensorflow-datasets keeps prepared datasets, for pictures of what was "
        "bought (default: its own); nothing is downloaded.",
        flag_values=values,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Makes the report that the command line asks for; its last line is the page.

    Args:
        argv: what follows `aljax report`; None: of this process.

    Returns:
        0 done · 1 it could not be written · 2 bad usage or nothing to report.
    """
    argv = list(sys.argv[2:] if argv is None else argv)
    values = flags.FlagValues()
    define_flags(values)
    if any(argument in ("--help", "-help", "-h") for argument in argv):
        print(f"{_USAGE}\n{values.get_help()}")
        return DONE
    try:
        page = _write(values, argv)
    except flags.UnrecognizedFlagError as error:
        print(
            f"aljax report: --{error.flagname}: there is no such flag; its flags are "
            f"{', '.join(f'--{name}' for name in values)}.",
            file=sys.stderr,
        )
        return USAGE
    except (flags.Error, ValueError) as error:
        print(f"aljax report: {error}", file=sys.stderr)
        return USAGE
    except OSError as error:
        print(
            f"aljax report: {error}. Name another folder with --out, or make room.",
            file=sys.stderr,
        )
        return ERROR
    print(page, flush=True)
    return DONE


def _write(values: flags.FlagValues, argv: list[str]) -> str:
    from aljax.report import write_report
    from aljax.report.images import stored_images

    rest = values(["aljax report", *argv])[1:]
    if rest:
        raise ValueError(f"{rest[0]!r} is not a flag; all flags begin with --.")
    if not values.workdir:
        raise ValueError("name at least one folder of runs: --workdir=FOLDER.")
    page = write_report(
        values.workdir,
        out=values.out,
        images=stored_images(values.data_dir),
        reference=values.reference,
        command=shlex.join(["aljax", "report", *argv]),
    )
    return str(page)
