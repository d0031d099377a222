# SPDX-License-Identifier: BSD-2-Clause
"""Each signal belongs to the source file whose module drives it."""

from __future__ import annotations

from litex.gen import LiteXModule
from migen import READ_FIRST, ClockDomain, Memory, Signal

from spatten_drivers.config import PRESETS
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.port import BlockMemory
from spatten_fpga.sim.units import OUTSIDE, drivers, lowered, observed, spread

PACKAGE = "spatten_fpga.core"
GEOMETRY = Geometry(PRESETS["ecp5-85f"])


class Named(BlockMemory):
    """A module of a test with a base in the package."""


class Around(LiteXModule):
    """A module of a test, with one of the package inside."""

    def __init__(self) -> None:
        self.inside = inside = Named(GEOMETRY, 16)
        self.seen = Signal(8)
        self.sync += self.seen.eq((inside.port.data.data + self.seen)[1:9])


class Stored(LiteXModule):
    """``read`` depends on ``written`` through a memory, ``other`` does not."""

    def __init__(self) -> None:
        self.written, self.read, self.other = Signal(4), Signal(4), Signal()
        memory = Memory(4, 16)
        write, read = memory.get_port(write_capable=True), memory.get_port(mode=READ_FIRST)
        self.specials += memory, write, read
        self.comb += [write.dat_w.eq(self.written), write.we.eq(1), self.read.eq(read.dat_r)]
        self.sync += self.other.eq(self.written[0])


def test_library_modules_count_to_the_file_around_them() -> None:
    around = Around()
    around.get_fragment()
    found = drivers(around, PACKAGE)
    inside = around.inside
    assert found[inside.port.command.ready] == "port"  # its class is of the tests, its base is not
    assert found[inside.fifo.source.valid] == "port"  # a FIFO of LiteX
    assert found[around.seen] == OUTSIDE
    memories = [thing for thing in found if isinstance(thing, Memory)]
    assert len(memories) == 2
    assert {found[memory] for memory in memories} == {"port"}


def test_signals_of_lowering_belong_to_what_reads_them() -> None:
    around = Around()
    around.clock_domains.cd_sys = ClockDomain("sys")
    fragment = lowered(around.get_fragment())
    before = drivers(around, "tests.fpga.sim")
    after = spread(before, fragment)
    made = after.keys() - before.keys()
    assert made
    assert "test_units" in {after[signal] for signal in made}
    assert before.items() <= after.items()


def test_an_output_is_followed_through_memories() -> None:
    stored = Stored()
    seen = observed(stored.get_fragment(), [stored.read])
    assert stored.written in seen
    assert stored.other not in seen
