# SPDX-License-Identifier: BSD-2-Clause
"""Which packets are requests: the only door through which anything gets into the device."""

from __future__ import annotations

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from spatten_drivers.link.format import MAX_WORDS, OVERHEAD_WORDS

from .crc import Crc32
from .layouts import FIRST, OPERATION, WORDS_BITS, draft_layout, packet_layout, part


class PacketChecker(LiteXModule):
    """Passes a packet on without its first word, and says at the last one whether to take it back.

    A packet is taken back if its CRC or first word is wrong, if it is shorter than a header and a CRC or
    longer than the longest payload allows, if it is an answer, or if the line says that it is damaged. None is
    held up: a word passes in the cycle in which it comes. Words beyond the greatest length are swallowed.

    Attributes
    ----------
    sink : Endpoint, in, of :func:`.packet_layout`.
    source : Endpoint, out, of :func:`.draft_layout`: session, sequence, operation, address, payload, CRC.
    damaged : Signal, out: a packet was dropped; a pulse.
    """

    def __init__(self) -> None:
        self.sink = sink = stream.Endpoint(packet_layout())
        self.source = source = stream.Endpoint(draft_layout())
        self.damaged = Signal()

        # # #

        longest = MAX_WORDS + OVERHEAD_WORDS
        self.crc = crc = Crc32()
        place = Signal(max=2**WORDS_BITS)  # of the word in its packet; stays at the first that is too many
        foreign = Signal()  # a word so far was none of a request
        odd = Signal()  # this one is not
        moved, ended = Signal(), Signal()

        # Words ------------------------------------------------------------------------------------
        too_long = place == longest
        self.comb += [
            sink.connect(source, keep={"data", "last", "peer"}),
            source.valid.eq(sink.valid & (place != 0) & (~too_long | sink.last)),
            sink.ready.eq(source.ready | ~source.valid),
            moved.eq(sink.valid & sink.ready),
            ended.eq(moved & sink.last),
            crc.data.eq(sink.data),
            crc.take.eq(moved),
            crc.clear.eq(ended),
        ]
        self.sync += If(moved & ~too_long, place.eq(place + 1)), If(ended, place.eq(0))

        # Verdict ----------------------------------------------------------------------------------
        self.comb += [
            Case(
                place,
                {
                    0: odd.eq(sink.data != FIRST),
                    1 + OPERATION: odd.eq(part(sink.data, "ANSWER") != 0),
                    longest: odd.eq(1),
                    "default": odd.eq(0),
                },
            ),
            source.drop.eq(foreign | odd | sink.damaged | ~crc.intact | (place < OVERHEAD_WORDS - 1)),
            self.damaged.eq(ended & source.drop),
        ]
        self.sync += If(moved, foreign.eq(foreign | odd)), If(ended, foreign.eq(0))
