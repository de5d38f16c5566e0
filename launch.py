"""Runs an experiment: `python launch.py --help`."""

import sys

from aljax import environment

if __name__ == "__main__":
    environment.prepare()
    from aljax.command_line import main

    sys.exit(main())
