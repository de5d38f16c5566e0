"""Runs an experiment: `python launch.py --help`."""

import sys

from aljax.command_line import main

if __name__ == "__main__":
    sys.exit(main())
