# SPDX-License-Identifier: BSD-2-Clause
"""Registers by their addresses: in simulation of a board's Verilog, and how what is wrong would be found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spatten_drivers.errors import SpattenError
from spatten_fpga.targets.registers import ERRORS, RESET, Register, exercise, hold_processor

from .builds import run

HOLD = [Register(f"hold_{n}", 4 * n, 1, bits, n % 2) for n, bits in enumerate((1, 1, 8, 32, 1, 32))]
ALL = [*HOLD, Register("look", 100, 2, 0, 0), Register(ERRORS, 200, 1, 0, 0)]


class Words:
    """A bus with registers behind it; some words may be where another is, or lose a bit."""

    def __init__(self, alias: dict[int, int] | None = None, lost: dict[int, int] | None = None) -> None:
        self.alias, self.lost, self.errors = alias or {}, lost or {}, 0
        self.words = {register.address: register.reset for register in HOLD} | {100: 5, 104: 6}

    def read(self, address: int, length: int | None = None) -> int | list[int]:
        if length is not None:
            return [self.read(address + 4 * word) for word in range(length)]
        if address == 200:
            return self.errors
        self.errors += address not in self.words
        return self.words.get(self.alias.get(address, address), 0xFFFFFFFF)

    def write(self, address: int, value: int) -> None:
        self.words[self.alias.get(address, address)] = value & ~self.lost.get(address, 0)


def test_all_hold_and_end_as_they_were() -> None:
    bus = Words()
    before = dict(bus.words)
    exercise(bus, ALL)
    assert bus.words == before


def test_what_a_processors_software_has_written_by_then_does_not_count() -> None:
    """It is held in reset before anything is tried."""
    bus = Words()
    before = dict(bus.words)
    bus.words |= {4: 0, 8: 0x55}
    hold_processor(bus, [*ALL, Register(RESET, 300, 1, 0, 0)])
    assert bus.words == before | {300: 2}


@pytest.mark.parametrize(("one", "other"), [(0, 16), (4, 8), (12, 20)], ids=["bits", "neighbours", "words"])
def test_two_at_one_address(one: int, other: int) -> None:
    with pytest.raises(SpattenError, match=f"register hold_{min(one, other) // 4} at .* reads"):
        exercise(Words(alias={one: other}), ALL)


def test_a_bit_that_does_not_hold() -> None:
    with pytest.raises(SpattenError, match=r"register hold_2 at 0x00000008 reads 0x7f .* expected 0xff"):
        exercise(Words(lost={8: 0x80}), ALL)


def test_another_value_after_the_reset() -> None:
    bus = Words()
    bus.words[12] = 3
    with pytest.raises(SpattenError, match=r"register hold_3 at 0x0000000c reads 0x3 .* expected 0x1"):
        exercise(bus, ALL)


def test_an_address_that_nobody_answers() -> None:
    with pytest.raises(SpattenError, match="1 accesses to registers were answered by nobody"):
        exercise(Words(), [*ALL, Register("gone", 300, 1, 0, 0)])


# Boards with all but their cores, in simulation ---------------------------------------------------


def require_tried(folder: Path, link: str, name: str, *options: str) -> None:
    """Every register of the map answers by a link."""
    given = [name, "--build", "--stop-after", "registers", "--output-dir", str(folder), *options]
    done = run("tests.fpga.targets.hollow", *given)
    assert done.returncode == 0, done.stdout + done.stderr
    count = len(json.loads((folder / "csr.json").read_text("utf-8"))["csr_registers"])
    assert count > 30
    assert f"{count} registers by {link}\n" in done.stdout


def test_a_board_by_its_serial_line(tmp_path: Path) -> None:
    require_tried(tmp_path, "uartbone", "colorlight_i9")


def test_a_board_that_has_ethernet_alone(tmp_path: Path) -> None:
    require_tried(tmp_path, "spl-udp", "butterstick", "--cpu-type", "none")


@pytest.mark.deep
def test_a_board_by_etherbone_at_another_address(tmp_path: Path) -> None:
    place = ["--ip-address", "10.1.2.3", "--mac-address", "0x020304050607"]
    require_tried(tmp_path, "etherbone", "colorlight_i9", "--link", "etherbone", *place)
