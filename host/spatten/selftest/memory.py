# SPDX-License-Identifier: BSD-2-Clause
"""Device memory from the host: data lines, address lines, March C-, patterns; every wrong bit is counted.

March C- as in van de Goor, "Using March Tests to Test SRAMs", IEEE Design and Test, 1993, in blocks of 256
bytes: a block is read whole and then written whole, so coupling between cells of one block is left to the
patterns.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spatten_drivers.devices import SocDevice
from spatten_drivers.devices.litex.leveling import MIN_WINDOW, Leveling
from spatten_drivers.errors import LinkDamageError

from ..errors import SelftestFault
from .bench import Bench
from .result import Finding

Words = NDArray[np.uint32]
BLOCK = 256  # bytes of a march
LEAST, MOST = 1 << 12, 1 << 20  # bytes of a window that is not asked for
PASSES = 20  # that all parts together make over the window, reads and writes
BUDGET = 12.0  # seconds for them
ONES = np.uint32(0xFFFFFFFF)
_SHOWN = 4  # wrong words that are listed
READ_DELAY = "ddrphy_rdly_dq_rst"  # a register of systems whose DRAM needs read levelling
#: What LiteX's software prints of it, and in that its choice for each byte lane.
PRINTED = re.compile(r"Read leveling:(?:\n  .*)+")
CHOSEN = re.compile(r"best: m(\d+), b\d+ +delays: (\S+)")


@dataclass(frozen=True)
class Wrong:
    """A word that read otherwise than it was written."""

    part: str
    address: int
    wrote: int
    read: int

    def __str__(self) -> str:
        return f"{self.part}: at {self.address:#x} wrote {self.wrote:#010x}, read {self.read:#010x}"


class Tester:
    """Writes and reads words of device memory, and keeps what was wrong.

    Attributes
    ----------
    words, wrong : compared, and wrong among them.
    bits : that were ever wrong, as a mask.
    first : the first few wrong words.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench, self._device = bench, bench.device
        self.words = self.wrong = self.bits = 0
        self.first: list[Wrong] = []

    def write(self, address: int, words: Words) -> None:
        """Words at a byte address; what a link reads back wrongly shows when it is read again."""
        try:
            self._device.write_memory(address, words.astype("<u4").view(np.uint8))
        except LinkDamageError as error:
            if not self.expect("write", address, words):
                raise SelftestFault(f"memory at {address:#x}: {error}") from error

    def expect(self, part: str, address: int, words: Words) -> int:
        """How many words differ from ``words``."""
        read = self._device.read_memory(address, words.nbytes).view("<u4")
        self.words += len(words)
        places = np.flatnonzero(read != words)
        if len(places):
            self.wrong += len(places)
            self.bits |= int(np.bitwise_or.reduce(read[places] ^ words[places]))
            listed = places[: max(0, _SHOWN - len(self.first))]
            self.first += [Wrong(part, address + 4 * int(i), int(words[i]), int(read[i])) for i in listed]
        return len(places)

    def step(self, part: str) -> None:
        self._bench.step(part)


def memory(bench: Bench) -> Finding:
    """All parts over a window at the beginning and one at the end, and address lines over everything."""
    size, tester = bench.device.memory_bytes, Tester(bench)
    rates = link_rates(bench, tester)
    window = min(bench.window or affordable(*rates.values()), size // 2) // BLOCK * BLOCK
    last = (size - window) // BLOCK * BLOCK
    data_lines(tester)
    tester.step("data lines")
    address_lines(tester, size)
    tester.step("address lines")
    march(tester, 0, window)
    patterns(tester, last, window, bench.seed)
    figures: dict[str, Any] = {
        "window_bytes": window,
        "words_compared": tester.words,
        "words_wrong": tester.wrong,
        "bits_wrong": f"{tester.bits:#010x}",
        "first_wrong": [str(wrong) for wrong in tester.first],
        "host_bytes_a_second": rates,
    }
    if tester.wrong:
        raise SelftestFault(_told(tester), figures)
    speeds = " and ".join(f"{what} {rate / 1e6:,.3f} MB/s" for what, rate in rates.items())
    door = getattr(bench.device, "door", "")
    through = f", through the {door} door" if door else ""
    return Finding(
        f"March C- on {window >> 10:,} KiB, patterns on the last {window >> 10:,} KiB, address lines of all "
        f"{size >> 10:,} KiB{through}; the host {speeds}",
        figures,
    )


def _told(tester: Tester) -> str:
    """Wrong words in words."""
    lanes = ", ".join(str(lane) for lane in range(4) if tester.bits >> 8 * lane & 0xFF)
    count = (
        f"{tester.wrong:,} of {tester.words:,} words are wrong, bits {tester.bits:#010x} (byte lanes {lanes})"
    )
    return "\n".join([count, *map(str, tester.first)])


def link_rates(bench: Bench, tester: Tester) -> dict[str, float]:
    """Bytes a second that the host writes and reads, in blocks as a march has them."""
    data, device, rates = np.zeros(BLOCK // 4, np.uint32), bench.device, {}
    moves: dict[str, Callable[[int], object]] = {
        "writes": lambda at: tester.write(at, data),
        "reads": lambda at: device.read_memory(at, BLOCK),
    }
    for what, move in moves.items():
        since, blocks = time.perf_counter(), 0
        while blocks < 4 or (time.perf_counter() - since < 0.1 and blocks < 256):
            move(BLOCK * (blocks % 16))
            blocks += 1
        rates[what] = blocks * BLOCK / max(1e-9, time.perf_counter() - since)
    bench.step("speed of the link")
    return rates


def affordable(writes: float, reads: float) -> int:
    """Bytes of a window, a power of two, that all parts get through in their budget at such rates."""
    within = BUDGET / (PASSES / 2 * (1 / writes + 1 / reads))
    return min(MOST, max(LEAST, 1 << int(within).bit_length() - 1 if within >= 1 else 0))


def data_lines(tester: Tester) -> None:
    """A one that walks through a beat's words, and a zero."""
    ones = (1 << np.arange(32, dtype=np.uint64)).astype(np.uint32)
    walking = np.concatenate([ones, ~ones])
    tester.write(0, walking)
    tester.expect("data lines", 0, walking)


def address_lines(tester: Tester, size: int) -> None:
    """A word of its own at 0, at every power of two and at the end: a stuck or crossed line merges two."""
    places = [0, *(1 << bit for bit in range(2, (size - 1).bit_length())), size - 4]
    for sign in (0, 0xFFFFFFFF):
        words = {
            at: np.array([(at * 0x9E3779B1 & 0xFFFFFFFF) ^ 0xA5000000 ^ sign], np.uint32) for at in places
        }
        for at, word in words.items():
            tester.write(at, word)
        for at, word in words.items():
            tester.expect("address lines", at, word)


def march(tester: Tester, base: int, window: int) -> None:
    """March C-: w0; up r0 w1; up r1 w0; down r0 w1; down r1 w0; r0."""
    zeros, ones = np.zeros(BLOCK // 4, np.uint32), np.full(BLOCK // 4, ONES)
    blocks = range(base, base + window, BLOCK)
    for at in blocks:
        tester.write(at, zeros)
    tester.step("March C-")
    for before, after, upwards in (
        (zeros, ones, True),
        (ones, zeros, True),
        (zeros, ones, False),
        (ones, zeros, False),
    ):
        for at in blocks if upwards else reversed(blocks):
            tester.expect("March C-", at, before)
            tester.write(at, after)
        tester.step("March C-")
    for at in blocks:
        tester.expect("March C-", at, zeros)
    tester.step("March C-")


def patterns(tester: Tester, base: int, window: int, seed: int) -> None:
    """Checkerboards, each word its own address and the opposite, random words: written whole, then read."""
    count = window // 4
    addresses = (base + 4 * np.arange(count)).astype(np.uint32)
    checks = np.where(np.arange(count) % 2, np.uint32(0xAAAAAAAA), np.uint32(0x55555555)).astype(np.uint32)
    drawn = np.random.default_rng([seed, 2]).integers(0, 1 << 32, count, dtype=np.uint32)
    for part, words in (
        ("checkerboard", checks),
        ("checkerboard", ~checks),
        ("addresses", addresses),
        ("addresses", ~addresses),
        ("random words", drawn),
    ):
        tester.write(base, words)
        tester.expect(part, base, words)
        tester.step(part)


def leveling(bench: Bench) -> Finding:
    """The windows that read levelling chose: this program's, or those that the board's processor printed."""
    device = bench.device
    found: Leveling | None = getattr(device, "leveling", None)
    if found is not None:
        return _leveled_from_here(found)
    if not (isinstance(device, SocDevice) and READ_DELAY in device.csr_map.addresses):
        return Finding("there is no DRAM that needs it", measured=False)
    if reports := PRINTED.findall(device.console()):
        return _leveled_by_processor(reports[-1])
    return Finding(
        "memory was ready when the device was opened, and nobody tells its windows: open it with level=1 "
        "behind its uri, which levels it anew",
        measured=False,
    )


def _leveled_from_here(found: Leveling) -> Finding:
    widths = {lane.lane: lane.best.width if lane.best else 0 for lane in found.lanes}
    if narrow := [lane for lane, width in widths.items() if width < MIN_WINDOW]:
        raise SelftestFault(f"no window of {MIN_WINDOW} delays on byte lane {narrow}:\n{found.text()}")
    return Finding(found.text(), {"window_delays_by_lane": widths})


def _leveled_by_processor(report: str) -> Finding:
    """LiteX prints the middle of each lane's window and half its width, or a dash where there is none."""
    chosen = {int(lane): delays for lane, delays in CHOSEN.findall(report)}
    if missing := [lane for lane, delays in chosen.items() if delays == "-"]:
        raise SelftestFault(
            f"no window on byte lane {missing}, as the board's processor prints it:\n{report}"
        )
    return Finding(f"the board's processor printed:\n{report}", {"delays_by_lane": chosen})
