# SPDX-License-Identifier: BSD-2-Clause
"""GSD OrangeCrab r0.2 with the LFE5U-85F: 128 MiB of DDR3 x16, a serial line on GPIO pins 0 (rx) and 1 (tx).

LiteX's own target speaks through its USB plug, for which it needs a package that is not published. A USB to
serial adapter of 3.3 V on the two pins does.
"""

from __future__ import annotations

import sys
from typing import Any

from litex.build.lattice import LatticeECP5Platform
from litex_boards.platforms import gsd_orangecrab
from litex_boards.targets.gsd_orangecrab import _CRGSDRAM

from spatten_fpga.soc.memory import MT41K64M16, MT41K256M16

from .board import Board, Ddr3
from .command import main


def _platform() -> LatticeECP5Platform:
    platform = gsd_orangecrab.Platform(revision="0.2", device="85F", toolchain="trellis")
    platform.add_extension(gsd_orangecrab.feather_serial)
    return platform


def _phy(clock: float) -> dict[str, Any]:
    """As LiteX's target has it: the masks are swapped on the board, slow clocks want delayed commands."""
    return {"dm_remapping": {0: 1, 1: 0}, "cmd_delay": 0 if clock > 64e6 else 100}


BOARD = Board(
    name="orangecrab",
    title="GSD OrangeCrab 85F",
    platform=_platform,
    clocks=_CRGSDRAM,
    memory=Ddr3({"MT41K64M16": MT41K64M16, "MT41K256M16": MT41K256M16}, _phy, terminated=False),
    preset="ecp5-85f-slim",
    clock=48e6,
    links=("uartbone",),
    baudrate=1_000_000,
    idle_high=("usr_btn",),  # low resets the system
)

if __name__ == "__main__":
    sys.exit(main(BOARD))
