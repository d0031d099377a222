# SPDX-License-Identifier: BSD-2-Clause
"""Muse Lab Colorlight i9 with the LFE5U-45F: the i5 with a larger chip."""

from __future__ import annotations

import sys
from dataclasses import replace

from litex_boards.platforms import colorlight_i5 as platforms

from . import colorlight_i5
from .command import main

BOARD = replace(
    colorlight_i5.BOARD,
    name="colorlight_i9",
    title="Colorlight i9",
    platform=lambda: platforms.Platform(board="i9", revision="7.2", toolchain="trellis"),
    preset="ecp5-25f",
    links=("spl-udp", "uartbone"),  # on the i5 there is no room for Ethernet
)

if __name__ == "__main__":
    sys.exit(main(BOARD))
