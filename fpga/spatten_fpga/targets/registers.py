# SPDX-License-Identifier: BSD-2-Clause
"""Every register of a system at the address that ``csr.json`` gives it, in simulation of its very Verilog."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litex.soc.interconnect.csr import CSRStorage

from spatten_drivers.errors import SpattenError
from spatten_drivers.link.format import UDP_PORT
from spatten_fpga.sim.frames import Host
from spatten_fpga.sim.verilator import Progress, checksum
from spatten_fpga.soc import etherbone

from .cable import Cable, EtherboneLine, SplLine
from .gateware import Gateware
from .line import Line
from .system import BoardSoc

WORD = 32
RESET = "ctrl_reset"  # spared: writing it resets the system, or
PROCESSOR = 2  # holds its processor in reset
PHY_RESET = "ethphy_crg_reset"  # spared where it would cut the way by which it is written
#: The links that they can be tried by, the best first, and what is only read by each.
SPARED = {"uartbone": {RESET}, "spl-udp": {RESET, PHY_RESET}, "etherbone": {RESET, PHY_RESET}}
ERRORS = "ctrl_bus_errors"
OWN_ADDRESSES = ("192.168.1.100", "192.168.1.101")  # of the host: the first that is not the board's


@dataclass(frozen=True)
class Register:
    """A register of the map.

    Attributes
    ----------
    name : as in csr.json.
    address : of its first word, bytes.
    words : of 32 bits.
    bits : that hold what is written; 0 if it does not hold, or must not be written.
    reset : what it reads after the reset, if it holds.
    """

    name: str
    address: int
    words: int
    bits: int
    reset: int


def tried_by(links: Collection[str]) -> str | None:
    """The one of a system's links by which its registers are tried, if any can be."""
    return next((name for name in SPARED if name in links), None)


def check_registers(
    soc: BoardSoc, gateware: Gateware, csr: Path, progress: Progress
) -> dict[str, Any] | None:
    """Read every register, and write every one that holds what is written; None without a link to do it by.

    That is the serial bridge if there is one, else SpL or Etherbone over Ethernet.

    Each that holds must read its reset value first. Then all are written with a bit of a number of their own,
    round by round, and read back: two that were at one address would differ in some round.

    Raises
    ------
    SpattenError : one reads something else, or nobody answered at an address.
    """
    link = tried_by(soc.links)
    if link is None:
        return None
    found = registers(soc, json.loads(csr.read_text("utf-8")), SPARED[link])
    line = _line(link, soc, gateware, progress)
    try:
        progress(f"{len(found)} registers by {link}")
        if soc.cpu_type is not None:
            hold_processor(line, found)
        exercise(line, found)
    finally:
        line.close()
    return {
        "count": sum(register.words for register in found),
        "csr_sha256": checksum(csr),
    }


def _line(link: str, soc: BoardSoc, gateware: Gateware, progress: Progress) -> Line | SplLine | EtherboneLine:
    """The simulated system at the other end of a link."""
    clock, idle_high = soc.platform.default_clk_name, soc.board.idle_high
    if link == "uartbone":
        width = round(soc.sys_clk_freq / soc.baudrate)
        return Line(gateware, clock, idle_high, width, progress)
    port = UDP_PORT if link == "spl-udp" else etherbone.UDP_PORT
    own_address = next(place for place in OWN_ADDRESSES if place != soc.ip_address)
    host = Host(port, port, soc.ip_address, own_address, soc.mac_address)
    cable = Cable(gateware, clock, idle_high, host, progress)
    return SplLine(cable) if link == "spl-udp" else EtherboneLine(cable, port)


def registers(soc: BoardSoc, csr: dict[str, Any], spared: Collection[str]) -> list[Register]:
    """All that the map has; whether each holds is known from the elaborated system, but for those spared."""
    made = {
        f"{bank}_{register.name}": register
        for bank, all_of, *_ in soc.csr_bankarray.banks
        for register in all_of
    }
    return [
        Register(name, place["addr"], place["size"], *_held(None if name in spared else made.get(name)))
        for name, place in csr["csr_registers"].items()
    ]


def _held(register: object) -> tuple[int, int]:
    if not isinstance(register, CSRStorage) or hasattr(register, "dat_w") or register.size > WORD:
        return 0, 0
    return register.size, register.storage.reset.value


def hold_processor(line: Line, found: Sequence[Register]) -> None:
    """Its software would write registers meanwhile; what it has written by now gets its reset value."""
    places = {register.name: register.address for register in found}
    line.write(places[RESET], PROCESSOR)
    for register in _holding(found):
        line.write(register.address, register.reset)


def exercise(line: Line, found: Sequence[Register]) -> None:
    """Read all, try those that hold, and leave them as they were; raises as :func:`check_registers` does."""
    for register in found:
        line.read(register.address, register.words)
    holding = _holding(found)
    for register in holding:
        _require(register, register.reset, line.read(register.address))
    for pattern in _patterns(len(holding)):
        for place, register in enumerate(holding):
            line.write(register.address, pattern[place] & _ones(register))
        for place, register in enumerate(holding):
            _require(register, pattern[place] & _ones(register), line.read(register.address))
    for register in holding:
        line.write(register.address, register.reset)
    errors = next(register for register in found if register.name == ERRORS)
    if count := line.read(errors.address):
        raise SpattenError(f"{count} accesses to registers were answered by nobody on the simulated bus")


def _holding(found: Sequence[Register]) -> list[Register]:
    return [register for register in found if register.bits]


def _patterns(count: int) -> Iterator[list[int]]:
    """For each of so many registers a word: its bits alike, by a digit of its number; then bits that vary."""
    for digit in range(count.bit_length()):
        yield [0xFFFFFFFF * (number >> digit & 1) for number in range(1, count + 1)]
    for inverted in (0, 0xFFFFFFFF):
        yield [0x9E3779B9 * number & 0xFFFFFFFF ^ inverted for number in range(1, count + 1)]


def _ones(register: Register) -> int:
    return (1 << register.bits) - 1


def _require(register: Register, wanted: int, read: int) -> None:
    if read != wanted:
        raise SpattenError(
            f"register {register.name} at {register.address:#010x} reads {read:#x} in simulation, "
            f"expected {wanted:#x}"
        )
