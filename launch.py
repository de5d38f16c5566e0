"""The command `aljax` without installing it: `python launch.py --help`."""

import sys

from aljax.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
