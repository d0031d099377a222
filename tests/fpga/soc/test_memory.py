# SPDX-License-Identifier: BSD-2-Clause
"""Sizes and refresh times of the boards' memory."""

from __future__ import annotations

import pytest

from spatten_fpga.sim.dram import ecp5_settings, sdr_settings
from spatten_fpga.soc import memory
from spatten_fpga.soc.soc import chip_bytes

MIB = 1 << 20


@pytest.mark.parametrize(
    ("name", "lines", "clock", "size", "refresh"),
    [
        ("MT41K256M16", 16, 75e6, 512 * MIB, 20),  # 260 ns and a clock of margin
        ("MT41K64M16", 16, 75e6, 128 * MIB, 9),  # 110 ns
        ("MT41K256M16", 16, 100e6, 512 * MIB, 27),
        ("MT48LC16M16", 16, 50e6, 32 * MIB, 4),
        ("IS42S16160", 16, 50e6, 32 * MIB, 4),
        ("AS4C32M16", 16, 50e6, 64 * MIB, 3),
        ("M12L64322A", 32, 60e6, 8 * MIB, 4),
    ],
)
def test_boards(name: str, lines: int, clock: float, size: int, refresh: int) -> None:
    """Cycles of a refresh at the clock of a board: what the chip needs and LiteDRAM's margin, no more."""
    kind = getattr(memory, name)
    chips = kind(clock, "1:2" if kind.memtype == "DDR3" else "1:1")
    timing = ecp5_settings if kind.memtype == "DDR3" else sdr_settings
    assert chip_bytes(chips, timing(chips, clock, lines)) == size
    assert chips.timing_settings.tRFC == refresh
