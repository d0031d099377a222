# SPDX-License-Identifier: BSD-2-Clause
"""Muse Lab Colorlight i9 with the LFE5U-45F: 8 MiB of SDRAM x32, Gigabit Ethernet, serial on its carrier."""

from __future__ import annotations

import sys

from litex_boards.platforms import colorlight_i5
from litex_boards.targets.colorlight_i5 import _CRG

from spatten_fpga.soc.memory import M12L64322A

from .board import Board, Rgmii, Sdram
from .command import main

BOARD = Board(
    name="colorlight_i9",
    title="Colorlight i9",
    platform=lambda: colorlight_i5.Platform(board="i9", revision="7.2", toolchain="trellis"),
    clocks=_CRG,
    memory=Sdram({"M12L64322A": M12L64322A}),  # by data sheet like the EM638325 that is on the board
    preset="ecp5-25f",
    clock=50e6,
    links=("uartbone",),  # with Ethernet its clocks were missed: docs/targets.md
    ethernet=Rgmii(tx_delay=0.0, rx_delay=2e-9),
    baudrate=1_000_000,
)

if __name__ == "__main__":
    sys.exit(main(BOARD))
