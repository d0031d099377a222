# SPDX-License-Identifier: BSD-2-Clause
"""Muse Lab Colorlight i5 with the LFE5U-25F: 8 MiB of SDRAM x32, Gigabit Ethernet, serial on its carrier."""

from __future__ import annotations

import sys

from litex_boards.platforms import colorlight_i5
from litex_boards.targets.colorlight_i5 import _CRG

from spatten_fpga.soc.memory import M12L64322A

from .board import Board, Rgmii, Sdram
from .command import main

BOARD = Board(
    name="colorlight_i5",
    title="Colorlight i5",
    platform=lambda: colorlight_i5.Platform(board="i5", revision="7.0", toolchain="trellis"),
    clocks=_CRG,
    memory=Sdram({"M12L64322A": M12L64322A}),  # by data sheet like the EM638325 that is on the board
    preset="ecp5-25f-slim",
    clock=60e6,
    links=("uartbone",),
    ethernet=Rgmii(tx_delay=0.0, rx_delay=2e-9),
    baudrate=1_000_000,
)

if __name__ == "__main__":
    sys.exit(main(BOARD))
