# SPDX-License-Identifier: BSD-2-Clause
"""Radiona ULX3S with the LFE5U-85F: 32 MiB of SDRAM x16, USB serial."""

from __future__ import annotations

import sys

from litex_boards.platforms import radiona_ulx3s
from litex_boards.targets.radiona_ulx3s import _CRG

from spatten_fpga.soc.memory import AS4C32M16, IS42S16160, MT48LC16M16

from .board import Board, Sdram
from .command import main

BOARD = Board(
    name="ulx3s",
    title="Radiona ULX3S 85F",
    platform=lambda: radiona_ulx3s.Platform(device="LFE5U-85F", revision="2.0", toolchain="trellis"),
    clocks=lambda platform, clock: _CRG(platform, clock, sdram_rate="1:2"),
    # The chip differs from board to board; what is written on it tells.
    memory=Sdram({"MT48LC16M16": MT48LC16M16, "AS4C32M16": AS4C32M16, "IS42S16160": IS42S16160}, rate="1:2"),
    preset="ecp5-85f-slim",
    clock=50e6,
    links=("uartbone",),
    baudrate=1_000_000,
)

if __name__ == "__main__":
    sys.exit(main(BOARD))
