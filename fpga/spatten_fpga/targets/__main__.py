# SPDX-License-Identifier: BSD-2-Clause
"""``python3 -m spatten_fpga.targets BOARD --build``: the target of a board by its name."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from spatten_drivers.errors import ConfigError

from . import NAMES, command, find

USAGE = f"""\
usage: python3 -m spatten_fpga.targets BOARD OPTIONS

boards: {", ".join(NAMES)}

`python3 -m spatten_fpga.targets {NAMES[0]} --help` tells the options.
"""


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks of the board that it begins with; the exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(USAGE)
        return 0 if arguments else 2
    try:
        board = find(arguments[0])
    except ConfigError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return command.main(board, arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
