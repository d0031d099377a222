# SPDX-License-Identifier: BSD-2-Clause
"""CRC-32 of a stream of words, as Ethernet and zlib have it."""

from liteeth.mac.crc import LiteEthMACCRC32, LiteEthMACCRCEngine
from litex.gen import *
from migen import *


class Crc32(LiteXModule):
    """A word a cycle, its first byte lowest. Over a packet and its CRC it comes to a fixed residue.

    Attributes
    ----------
    data : Signal(32), in.
    take : Signal, in: go on by ``data``.
    clear : Signal, in: begin anew in the next cycle; before ``take``.
    intact : Signal, out: with ``data`` as the last word, the packet and its CRC agree.
    value : Signal(32), out: CRC of the words before this cycle.

    Source: IEEE 802.3, 3.2.9; the equations are LiteEth's.
    """

    def __init__(self) -> None:
        self.data = Signal(32)
        self.take = Signal()
        self.clear = Signal()
        self.intact = Signal()
        self.value = Signal(32)

        # # #

        start, kind = LiteEthMACCRC32.init, LiteEthMACCRC32
        self.engine = engine = LiteEthMACCRCEngine(32, kind.width, kind.polynom)
        state = Signal(32, reset=start)
        self.comb += [
            engine.data.eq(self.data),
            engine.crc_prev.eq(state),
            self.intact.eq(engine.crc_next == kind.check),
            self.value.eq(~state[::-1]),
        ]
        self.sync += If(self.take, state.eq(engine.crc_next)), If(self.clear, state.eq(start))
