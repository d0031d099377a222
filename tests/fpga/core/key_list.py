# SPDX-License-Identifier: BSD-2-Clause
"""The key list in block RAM, as the core shows it to a unit that looks it up."""

from __future__ import annotations

from litex.gen import LiteXModule
from litex.soc.interconnect import stream
from migen import READ_FIRST, Memory, Signal

from spatten_fpga.core.geometry import Geometry


class KeyList(LiteXModule):
    """Filled by the bench, read by ``index``; ``word`` comes a cycle later.

    Attributes
    ----------
    fill : in, ``place`` and ``word``.
    """

    def __init__(self, geometry: Geometry, index: Signal, word: Signal) -> None:
        self.fill = fill = stream.Endpoint([("place", geometry.index_bits), ("word", 16)])

        # # #

        memory = Memory(16, geometry.config.max_sequence)
        write, read = memory.get_port(write_capable=True, mode=READ_FIRST), memory.get_port(mode=READ_FIRST)
        self.specials += memory, write, read
        self.comb += [
            fill.ready.eq(1),
            write.we.eq(fill.valid),
            write.adr.eq(fill.place),
            write.dat_w.eq(fill.word),
            read.adr.eq(index),
            word.eq(read.dat_r),
        ]
