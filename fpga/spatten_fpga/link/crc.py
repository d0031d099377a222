# SPDX-License-Identifier: BSD-2-Clause
"""CRC-32 of a stream of words, as Ethernet and zlib have it."""

from liteeth.mac.crc import LiteEthMACCRC32, LiteEthMACCRCEngine
from litex.gen import *
from migen import *


class Crc32(LiteXModule):
    """A word a cycle, its first byte lowest. Over a packet and its CRC it comes to a fixed residue.

    Its sums run from registers to a register, so the result comes a cycle after the word.

    Attributes
    ----------
    data : Signal(32), in; best a register.
    take : Signal, in: go on by ``data``.
    first : Signal, in, with ``take``: it is the first word.
    value : Signal(32), out: CRC of the words taken before this cycle.
    intact : Signal, out: those words were a packet and its CRC, and they agree.

    Source: IEEE 802.3, 3.2.9; the equations are LiteEth's.
    """

    def __init__(self) -> None:
        self.data = Signal(32)
        self.take = Signal()
        self.first = Signal()
        self.value = Signal(32)
        self.intact = Signal()

        # # #

        kind = LiteEthMACCRC32
        self.engine = engine = LiteEthMACCRCEngine(32, kind.width, kind.polynom)
        state = Signal(32, reset_less=True)
        # A word as long as the sum: the next sum is one of their difference only, which halves the trees.
        before = Signal(32)
        self.comb += [
            before.eq(Mux(self.first, kind.init, state)),
            engine.data.eq(self.data ^ before[::-1]),
            engine.crc_prev.eq(0),
            self.value.eq(~state[::-1]),
            self.intact.eq(state == kind.check),
        ]
        self.sync += If(self.take, state.eq(engine.crc_next))
