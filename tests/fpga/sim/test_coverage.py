# SPDX-License-Identifier: BSD-2-Clause
"""What a design did, in its own names."""

from __future__ import annotations

from pathlib import Path

from litex.gen import LiteXModule
from migen import If, Signal

from spatten_fpga.sim import Bench
from spatten_fpga.sim.coverage import Share, by_unit, read_counts, total


class Counting(LiteXModule):
    """Counts while ``on``; ``never`` stays, unless ``on`` and the count is 200."""

    def __init__(self) -> None:
        self.on, self.count, self.never = Signal(), Signal(8), Signal()
        self.sync += If(self.on, self.count.eq(self.count + 1))
        self.sync += If(self.on & (self.count == 200), self.never.eq(1))


def shares(folder: Path, ticks: int) -> dict[str, dict[str, Share]]:
    dut = Counting()
    outputs = {"seen": dut.never}
    bench = Bench(dut, {}, {}, {"on": dut.on}, outputs, randomise=False, coverage=True)
    bench.set("on", 1)
    bench.tick(ticks)
    bench.set("on", 0)
    bench.tick()
    bench.write_coverage(folder / "coverage.dat")
    names = {"io_on": "switch", bench.names(dut.count): "counter", bench.names(dut.never): "counter"}
    return by_unit(read_counts(folder / "coverage.dat"), bench.verilog, names)


def test_lines_and_bits_are_counted_by_unit(tmp_path: Path) -> None:
    few, all_ = shares(tmp_path, 8), shares(tmp_path, 300)
    assert (few["toggle"]["switch"].hit, few["toggle"]["switch"].total) == (2, 2)
    # Count is 8: bits 0 to 2 rose and fell, bit 3 rose.
    assert (few["toggle"]["counter"].hit, few["toggle"]["counter"].total) == (7, 2 * 8 + 2)
    assert {count.signal for count in all_["toggle"]["counter"].missed} == {"io_seen"}
    missed = total(few["line"]).missed
    assert len(missed) == 1  # the branch that `never` is in
    assert total(all_["line"]).missed == []
    assert total(all_["line"]).total == total(few["line"]).total > 2
    assert str(Share(1, 8)) == "12.5 % of 8"
