# SPDX-License-Identifier: BSD-2-Clause
"""Read levelling against an interface that reads right in some settings only, and memory that is bad."""

import numpy as np
import pytest
from numpy.typing import NDArray

from spatten_drivers.devices.bus import Bus
from spatten_drivers.devices.litex.dram_init import HARDWARE, DramInit, pattern
from spatten_drivers.devices.litex.leveling import LaneScan, Leveling, Window
from spatten_drivers.devices.litex.memory_test import MemoryTest
from spatten_drivers.errors import DramError
from tests.drivers.devices.litex.board import DRAM, MockPhy

GOOD = {(1, 2), (1, 3), (1, 4), (1, 5)}
OTHER = {(0, 0), (2, 5), (2, 6), (2, 7)}
WRAPPED = {(3, 0), (3, 1), (3, 2), (3, 6), (3, 7)}  # its ends are no neighbours


class Named:
    """Registers by name, straight to the interface."""

    def __init__(self, phy: MockPhy) -> None:
        self._phy = phy

    def read_csr(self, name: str) -> int:
        return self._phy.read(name)

    def write_csr(self, name: str, value: int) -> None:
        self._phy.write(name, value)

    set_csr = write_csr


def level(phy: MockPhy) -> Leveling:
    report = DramInit(Named(phy), DRAM, lambda seconds: None).run()
    assert report is not None
    return report


def test_each_lane_is_set_to_the_middle_of_its_widest_window() -> None:
    phy = MockPhy([GOOD, OTHER])
    report = level(phy)
    assert [lane.best for lane in report.lanes] == [Window(1, 2, 5), Window(2, 5, 7)]
    assert (phy.bitslip, phy.delay) == ([1, 2], [3, 6])
    assert phy.modes == {2: 512, 3: 0, 1: 6, 0: 800}
    assert phy.registers["sdram_dfii_control"] == HARDWARE
    assert "lane 0, bitslip 1: |xx.O..xx|" in report.text()
    assert "lane 1, bitslip 2: |xxxxx.O.|" in report.text()
    assert "bitslip 2, delays 5 to 7, set to 6" in report.text()


def test_the_last_delay_and_the_first_are_no_neighbours() -> None:
    phy = MockPhy([WRAPPED, GOOD])
    assert level(phy).lanes[0].best == Window(3, 0, 2)
    assert phy.delay == [1, 3]


@pytest.mark.parametrize("window", [set(), {(0, 3)}, {(0, 3), (0, 5)}], ids=["none", "single", "two single"])
def test_a_lane_without_a_window_is_an_error_with_the_picture(window: set[tuple[int, int]]) -> None:
    with pytest.raises(DramError, match=r"no window on byte lane 1:[^$]*lane 0, bitslip 1: \|xx\.O\.\.xx\|"):
        level(MockPhy([GOOD, window]))


def test_right_data_without_a_burst_seen_is_no_window() -> None:
    with pytest.raises(DramError, match="no window on byte lane 0:"):
        level(MockPhy([GOOD, OTHER], blind=[0]))


def test_lanes_that_err_at_their_setting_are_reported() -> None:
    lane = LaneScan(0, 1, 4)
    with pytest.raises(DramError, match=r"by lane \[0, 3\]"):
        Leveling([lane]).require_errors_gone([0, 3])


def test_patterns_are_those_of_the_shift_register() -> None:
    """Galois form with taps 0x80200003, bits from the low end: the first steps from 42 by hand."""
    # 42 -> 21 -> 10 ^ taps = 0x80200009 -> 0x40100004 ^ taps = 0xc0300007 -> 0xe0380000 -> 0x701c0000
    assert pattern(42, 1, 5) == [0b00111]
    assert len({word for seed in (42, 84, 36) for word in pattern(seed, 2, 64)}) == 6


class BadMemory(Bus):
    """Memory of 4 KiB with a fault: stuck bits, an open address line, or coupled cells."""

    name = "bad memory"

    def __init__(self, fault: str) -> None:
        self._words, self._fault = np.zeros(1024, np.uint32), fault

    def read(self, address: int, count: int) -> NDArray[np.uint32]:
        words = self._words[self._cells(address, count)].copy()
        if self._fault == "stuck data line":
            words |= np.uint32(1 << 9)
        if self._fault == "stuck cell" and (at := 700 - address // 4) in range(count):
            words[at] &= np.uint32(0xFFFFFFEF)
        return words

    def write(self, address: int, words: NDArray[np.uint32]) -> None:
        for cell, word in zip(self._cells(address, len(words)), words, strict=True):
            self._words[cell] = word
            if self._fault == "coupled cells" and cell == 300:
                self._words[40] ^= np.uint32(4) & word

    def _cells(self, address: int, count: int) -> NDArray[np.int64]:
        cells = address // 4 + np.arange(count)
        return cells & ~512 if self._fault == "open address line" else cells


@pytest.mark.parametrize(
    ("fault", "part"),
    [
        ("stuck data line", "data lines"),
        ("stuck cell", "march"),
        ("coupled cells", "march"),
        ("open address line", "address lines"),
    ],
)
def test_bad_memory_is_found_and_named(fault: str, part: str) -> None:
    with pytest.raises(DramError, match=rf"memory test, {part}: .* words are wrong, the first at 0x"):
        MemoryTest(BadMemory(fault), 0, 4096, 2048 if part == "address lines" else 4096).run()


def test_good_memory_passes() -> None:
    MemoryTest(BadMemory("none"), 0, 4096, 4096).run()
