# SPDX-License-Identifier: BSD-2-Clause
"""Memories that promise not to be read where they are written: a bench shows who breaks the promise."""

import pytest
from litex.gen import LiteXModule
from litex.soc.interconnect import stream
from migen import READ_FIRST, Signal

from spatten_drivers.errors import SpattenError
from spatten_fpga.core.ram import SharedMemory
from spatten_fpga.sim.bench import Bench
from spatten_fpga.sim.collisions import spoil_collisions


class Cells(LiteXModule):
    """Writes ``data`` at ``to`` and reads at ``place`` in the same cycle."""

    def __init__(self) -> None:
        self.memory = memory = SharedMemory(8, 16)
        self.sink = stream.Endpoint([("to", 4), ("data", 8)])
        self.place, self.data = Signal(4), Signal(8)
        write = memory.get_port(write_capable=True, mode=READ_FIRST)
        read = memory.get_port(mode=READ_FIRST)
        self.specials += memory, write, read
        self.comb += [
            self.sink.ready.eq(1),
            write.adr.eq(self.sink.to),
            write.dat_w.eq(self.sink.data),
            write.we.eq(self.sink.valid),
            read.adr.eq(self.place),
            self.data.eq(read.dat_r),
        ]


@pytest.fixture(scope="module")
def bench() -> Bench:
    dut = Cells()
    return Bench(dut, {"sink": dut.sink}, {}, inputs={"place": dut.place}, outputs={"data": dut.data})


def read_while_writing(bench: Bench, place: int) -> int:
    bench.run({"sink": [{"to": 3, "data": 0x11}, {"to": 5, "data": 0x22}]}, {})
    bench.set("place", place)
    bench.run({"sink": [{"to": 3, "data": 0x77}]}, {}, after=0)
    return bench.get("data")


def test_a_cell_that_is_not_written_reads_right(bench: Bench) -> None:
    assert read_while_writing(bench, 5) == 0x22


def test_a_cell_that_is_written_reads_neither_old_nor_new(bench: Bench) -> None:
    assert read_while_writing(bench, 3) == 0x11 ^ 0xFF


def test_a_cell_reads_right_again_afterwards(bench: Bench) -> None:
    read_while_writing(bench, 3)
    bench.run({}, {}, after=4)
    assert bench.get("data") == 0x77


def test_a_marked_memory_of_another_form_is_refused() -> None:
    with pytest.raises(SpattenError, match="marked no_rw_check and has 0 plain writes"):
        spoil_collisions("(* no_rw_check = 1 *)\nreg [7:0] cells[0:15];\n")
