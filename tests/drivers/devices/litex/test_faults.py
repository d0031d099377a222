# SPDX-License-Identifier: BSD-2-Clause
"""Thousands of transfers under faults: every answer is right, or there is an error."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from spatten_drivers.devices.litex.checked_bus import CheckedBus
from spatten_drivers.devices.litex.uart_link import UartLink
from spatten_drivers.devices.litex.udp_link import UdpLink
from spatten_drivers.errors import LinkError
from tests.drivers.devices.litex.bridges import MARKER, RAM, RAM_BYTES, EtherboneSlave, System
from tests.drivers.devices.litex.faults import Faults, FaultyLine, FaultyNetwork

DEPTH = 64
LOST = Faults(loss=0.05)
REPEATED = Faults(repeat=0.05)
LATE = Faults(delay=0.1)
DAMAGED = Faults(damage=0.02)
ALL_ON_THE_WIRE = Faults(loss=0.02, repeat=0.02, delay=0.03, damage=0.02, checked=True)


class Bench:
    """A system behind a faulty link, and the bus over it; opened anew after an error, as that says."""

    def __init__(self, faults: Faults, seed: int, *, line: bool = False) -> None:
        self.system, self.counts = System(), Counter[str]()
        self.channel: FaultyLine | FaultyNetwork
        if line:
            self.channel = FaultyLine(self.system, faults, seed)
        else:
            self.channel = FaultyNetwork(EtherboneSlave(self.system, DEPTH), faults, seed)
        self.open()

    def open(self) -> None:
        if isinstance(self.channel, FaultyLine):
            self.link: UartLink | UdpLink = UartLink(self.channel, MARKER)
        else:
            self.link = UdpLink(self.channel, DEPTH)
            self.link._start = 0  # not at random, so that every run is the same
        self.link.counts = self.counts
        self.bus = CheckedBus(self.link, range(RAM, RAM + RAM_BYTES))

    def play(self, transfers: int, seed: int) -> Counter[str]:
        """Random reads and writes, each compared with what memory must hold; the outcomes by kind.

        After an error nothing is known of memory, as the error says: what it holds then is taken as it is.
        """
        random, outcomes = np.random.default_rng(seed), Counter[str]()
        truth = self.system.ram.copy()
        for _ in range(transfers):
            try:
                outcomes["right" if self._transfer(random, truth) else "wrong"] += 1
            except LinkError as error:
                outcomes[type(error).__name__] += 1
                self.open()
            truth = self.system.ram.copy()
        return outcomes

    def _transfer(self, random: np.random.Generator, truth: NDArray[np.uint32]) -> bool:
        """One read or write; whether it is right: the answer, and all of memory behind it."""
        count = int(random.integers(1, 80 if random.random() < 0.5 else 4))
        first = int(random.integers(0, len(truth) - count + 1))
        if random.random() < 0.5:
            answer = self.bus.read(RAM + 4 * first, count)
            return np.array_equal(answer, truth[first : first + count])
        words = random.integers(0, 1 << 32, count, dtype=np.uint32)
        self.bus.write(RAM + 4 * first, words)
        truth[first : first + count] = words
        return np.array_equal(self.system.ram, truth)


@pytest.mark.parametrize(
    ("faults", "seen"),
    [(LOST, "lost"), (REPEATED, "duplicate"), (LATE, "late"), (ALL_ON_THE_WIRE, "lost")],
    ids=["lost", "repeated", "late", "all"],
)
def test_what_is_lost_repeated_or_late_is_asked_again(faults: Faults, seen: str) -> None:
    bench = Bench(faults, seed=1)
    assert bench.play(2500, seed=2) == {"right": 2500}
    assert bench.counts[seen] > 100, bench.counts


def test_damage_that_nobody_counts_shows_in_the_words() -> None:
    """Behind the check sums, as in a switch's memory: copies differ, or a tag was never given."""
    bench = Bench(DAMAGED, seed=5)
    outcomes = bench.play(1500, seed=6)
    assert outcomes["wrong"] == 0, outcomes
    assert bench.counts["disagreed"] > 30
    assert bench.counts["malformed"] > 3
    assert outcomes["right"] > 1400


@pytest.mark.parametrize(
    "faults",
    [Faults(loss=1e-3), Faults(repeat=1e-3), Faults(damage=1e-3)],
    ids=["lost", "doubled", "damaged"],
)
def test_a_serial_line_repeats_reads_and_reports_writes(faults: Faults) -> None:
    bench = Bench(faults, seed=7, line=True)
    outcomes = bench.play(300, seed=8)
    assert outcomes["wrong"] == 0, outcomes
    assert outcomes["LinkDamageError"] > 5
    assert outcomes["right"] > 200
    assert sum(bench.counts[kind] for kind in ("lost", "shifted", "disagreed")) > 10


def test_no_command_is_sent_while_the_bridge_answers() -> None:
    bench = Bench(Faults(), seed=9, line=True)
    assert bench.play(200, seed=10) == {"right": 200}
    assert (bench.channel.injected, bench.counts) == ({}, {})


def test_a_slow_line_takes_commands_that_are_done_before_they_are_forgotten() -> None:
    """The bridge forgets what is not whole, answer included, after 100 ms: 96 bytes at 9,600 baud."""
    for baud, words in ((9600, 16), (115200, 61), (3_000_000, 61)):
        link = UartLink(FaultyLine(System(), Faults()), MARKER, baud)
        assert (link.max_writes, link.max_words) == (words, 2 * words)
        assert (6 + 4 * words) * 10 / baud < 0.08


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(4))
def test_twenty_thousand_transfers(seed: int) -> None:
    outcomes: Counter[str] = Counter()
    for faults in (LOST, REPEATED, LATE, ALL_ON_THE_WIRE, DAMAGED):
        outcomes += Bench(faults, seed).play(1000, seed)
    assert outcomes["wrong"] == 0
    assert outcomes["right"] > 4800
