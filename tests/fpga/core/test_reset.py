# SPDX-License-Identifier: BSD-2-Clause
"""The reset that walks from unit to unit, and what it leaves out."""

from collections.abc import Iterable, Iterator

from litex.gen import LiteXModule
from litex.soc.interconnect import stream
from migen import Signal, run_simulation

from spatten_fpga.core.reset import ResetChain


class Unit(LiteXModule):
    """Counts, and shows its count as the payload of a stream too."""

    def __init__(self) -> None:
        self.count = Signal(8, reset=3)
        self.source = stream.Endpoint([("data", 8)])
        self.sync += [
            self.count.eq(self.count + 1),
            self.source.valid.eq(1),
            self.source.data.eq(self.source.data + 1),
        ]


class Units(LiteXModule):
    def __init__(self, count: int) -> None:
        self.parts = [Unit() for _ in range(count)]
        self.submodules += self.parts
        self.chain = ResetChain(self.parts)


def values(signals: Iterable[Signal]) -> Iterator:
    found = []
    for signal in signals:
        value = yield signal
        found.append(value)
    return found


def test_units_are_in_reset_together_and_leave_it_one_by_one() -> None:
    dut, seen = Units(3), []

    def bench() -> Iterator:
        for cycle in range(24):
            yield dut.chain.start.eq(8 <= cycle < 12)
            counts = yield from values(unit.count for unit in dut.parts)
            seen.append((counts, *(yield from values((dut.chain.first, dut.chain.reset)))))
            yield

    run_simulation(dut, bench(), clocks={"sys": 10, "units": 10})
    counts, first, reset = zip(*seen, strict=True)
    assert counts[:6] == ([3, 3, 3], [3, 3, 3], [3, 3, 3], [4, 3, 3], [5, 4, 3], [6, 5, 4])  # power-on
    assert counts[9] == [10, 9, 8]  # not in reset yet
    together = [cycle for cycle, now in enumerate(counts) if now == [3, 3, 3]]
    left = together[-1] + 1
    assert counts[left : left + 3] == ([4, 3, 3], [5, 4, 3], [6, 5, 4])
    assert reset.count(1) - first.count(1) == 2 * 3  # three cycles longer after each of the two
    assert all(reset[cycle] for cycle in together)


def test_what_a_stream_carries_is_not_reset_and_its_valid_is() -> None:
    dut, seen = Units(1), []

    def bench() -> Iterator:
        for cycle in range(12):
            yield dut.chain.start.eq(cycle == 6)
            seen.append(((yield dut.parts[0].source.valid), (yield dut.parts[0].source.data)))
            yield

    run_simulation(dut, bench(), clocks={"sys": 10, "units": 10})
    valid, data = zip(*seen, strict=True)
    assert 0 in valid[6:]
    assert list(data[2:]) == sorted(data[2:])
    assert data[-1] > 6
