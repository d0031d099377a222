# SPDX-License-Identifier: BSD-2-Clause
"""LambdaConcept ECPIX-5 with the LFE5UM5G-85F: 512 MiB of DDR3 x16, Gigabit Ethernet, USB serial."""

from __future__ import annotations

import sys

from litex_boards.platforms import lambdaconcept_ecpix5
from litex_boards.targets.lambdaconcept_ecpix5 import _CRG

from spatten_fpga.soc.memory import MT41K256M16

from .board import Board, Ddr3, Rgmii
from .command import main

BOARD = Board(
    name="ecpix5",
    title="LambdaConcept ECPIX-5 85F",
    platform=lambda: lambdaconcept_ecpix5.Platform(device="85F", toolchain="trellis"),
    clocks=_CRG,
    memory=Ddr3({"MT41K256M16": MT41K256M16}),
    preset="ecp5-85f-slim",
    clock=75e6,
    links=("spl-udp", "uartbone"),
    ethernet=Rgmii(),
    baudrate=1_000_000,
)

if __name__ == "__main__":
    sys.exit(main(BOARD))
