# SPDX-License-Identifier: BSD-2-Clause
"""Designs as gates against the same designs as RTL; whole cores do so in ``make core-netlist``."""

from __future__ import annotations

import random

import pytest
from litex.gen import LiteXModule
from litex.soc.interconnect import stream
from migen import READ_FIRST, Memory, Signal

from spatten_fpga.sim import Bench
from spatten_fpga.synth.gates import gates


class MemoryAndProducts(LiteXModule):
    """A memory that one port reads and writes, and products of either sign."""

    def __init__(self, width: int, depth: int) -> None:
        self.sink = stream.Endpoint([("place", 10), ("data", width), ("write", 1), ("x", 14), ("y", 12)])
        self.source = stream.Endpoint([("data", width), ("signed", 26), ("unsigned", 26)])

        # # #

        memory = Memory(width, depth)
        port = memory.get_port(write_capable=True, mode=READ_FIRST)
        x, y = Signal((14, True)), Signal((12, True))
        self.specials += memory, port
        self.comb += [
            self.sink.ready.eq(1),
            port.adr.eq(self.sink.place),
            port.dat_w.eq(self.sink.data),
            port.we.eq(self.sink.write & self.sink.valid),
            self.source.data.eq(port.dat_r),
            x.eq(self.sink.x),
            y.eq(self.sink.y),
        ]
        self.sync += [
            self.source.valid.eq(self.sink.valid),
            self.source.signed.eq(x * y),
            self.source.unsigned.eq(self.sink.x * self.sink.y),
        ]


@pytest.mark.parametrize(("width", "depth", "block_rams"), [(36, 512, 1), (20, 700, 2)])
def test_gates_do_what_the_rtl_does(width: int, depth: int, block_rams: int) -> None:
    rng = random.Random(f"{width} {depth}")
    tokens = [
        {
            "place": rng.randrange(rng.choice((16, depth))),
            "data": rng.getrandbits(width),
            "write": rng.getrandbits(1),
            "x": rng.getrandbits(14),
            "y": rng.getrandbits(12),
        }
        for _ in range(2000)
    ]
    mapped = []

    def of_gates(verilog: str) -> str:
        mapped.append(gates(verilog))
        return mapped[0].verilog

    def answers(**options) -> list[dict[str, int]]:
        dut = MemoryAndProducts(width, depth)
        bench = Bench(dut, {"sink": dut.sink}, {"source": dut.source}, randomise=False, **options)
        return bench.run({"sink": tokens}, {"source": len(tokens)}, offer=0.8).tokens["source"]

    assert answers(mapped=of_gates) == answers()
    assert mapped[0].cells["DP16KD"] == block_rams
    assert mapped[0].cells["MULT18X18D"] == 2
