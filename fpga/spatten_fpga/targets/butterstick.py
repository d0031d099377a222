# SPDX-License-Identifier: BSD-2-Clause
"""GSD ButterStick r1.0 with the LFE5UM5G-85F: DDR3 x16 in two ranks, Gigabit Ethernet, no serial line.

Chips by variant: 2G has two MT41K64M16 (256 MiB), 8G two MT41K256M16 (1 GiB). Source: the maker's README.
"""

from __future__ import annotations

import sys

from litex_boards.platforms import gsd_butterstick
from litex_boards.targets.gsd_butterstick import _CRG

from spatten_fpga.soc.memory import MT41K64M16, MT41K256M16

from .board import Board, Ddr3, Rgmii
from .command import main

BOARD = Board(
    name="butterstick",
    title="GSD ButterStick 85F",
    platform=lambda: gsd_butterstick.Platform(revision="1.0", device="85F", toolchain="trellis"),
    clocks=_CRG,
    memory=Ddr3({"MT41K64M16": MT41K64M16, "MT41K256M16": MT41K256M16}),
    preset="ecp5-85f-slim",
    clock=60e6,
    links=("spl-udp", "etherbone"),
    idle_high=("user_btn0",),  # low resets the system
    ethernet=Rgmii(),  # the board's KSZ9031 delays what it receives by 1.2 ns itself
)

if __name__ == "__main__":
    sys.exit(main(BOARD))
