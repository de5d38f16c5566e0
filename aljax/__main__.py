"""The command `aljax`; `aljax --help` says what it takes."""

import sys

from aljax.machine import allocator


def main() -> int:
    """Carries out the command line; returns the exit status."""
    if sys.argv[1:2] == ["report"]:
        from aljax.report.command import main as report

        return report()
    allocator.prepare()
    from aljax.launch.command_line import main

    return main()


if __name__ == "__main__":
    sys.exit(main())
