# SPDX-License-Identifier: BSD-2-Clause
"""``python -m spatten_drivers.pynq_bridge program.py``: a PYNQ program on a SpAtten device, as it is."""

from __future__ import annotations

import argparse
import os
import runpy
import sys

from ..devices import open_device
from ..errors import DeviceError
from .attachment import attach, detach

NO_DEVICE = 3  # exit code


def main(arguments: list[str] | None = None) -> None:
    """Open the device, attach it, run the program, close the device."""
    parser = argparse.ArgumentParser(
        prog="python -m spatten_drivers.pynq_bridge",
        description="Run a program written for PYNQ, unmodified, on any SpAtten device.",
    )
    parser.add_argument("--device", default="emulator", metavar="URI", help="as open_device takes it")
    parser.add_argument("program", help="path of the program")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="passed on to it")
    given = parser.parse_args(arguments)
    if not os.path.isfile(given.program):
        parser.error(f"program {given.program!r} does not exist")
    try:
        device = open_device(given.device)
    except DeviceError as error:
        parser.exit(NO_DEVICE, f"error: {error}\n")
    with device:
        try:
            attach(device)
        except DeviceError as error:
            parser.exit(NO_DEVICE, f"error: {error}\n")
        sys.argv = [given.program, *given.arguments]
        sys.path[0] = os.path.dirname(os.path.abspath(given.program))
        runpy.run_path(given.program, run_name="__main__")
        detach(device)


if __name__ == "__main__":
    main()
