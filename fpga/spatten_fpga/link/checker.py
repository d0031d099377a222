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
    longer than the longest payload allows, if it is an answer, or if the line says that it is damaged. Words
    beyond the greatest length are swallowed. A word a cycle, each a cycle later: what is summed up over the
    packet is then known.

    Attributes
    ----------
    sink : Endpoint, in, of :func:`.packet_layout`; best registers, as its words go into a long sum.
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
        odd = Signal()  # no request has this word here
        foreign, wrong = Signal(), Signal()  # nor one before it; nor is this an end of one
        moved, ended = Signal(), Signal()
        too_long = place == longest

        # Words ------------------------------------------------------------------------------------
        self.comb += [
            sink.ready.eq(~source.valid | source.ready),
            moved.eq(sink.valid & sink.ready),
            crc.data.eq(sink.data),
            crc.take.eq(moved),
            crc.first.eq(place == 0),
        ]
        self.sync += [
            ended.eq(moved & sink.last),
            If(source.ready, source.valid.eq(0)),
            If(
                moved,
                source.valid.eq((place != 0) & (~too_long | sink.last)),
                source.data.eq(sink.data),
                source.last.eq(sink.last),
                source.peer.eq(sink.peer),
                wrong.eq(foreign | odd | sink.damaged | (place < OVERHEAD_WORDS - 1)),
                place.eq(Mux(sink.last, 0, Mux(too_long, place, place + 1))),
                foreign.eq(~sink.last & (foreign | odd)),
            ),
        ]

        # Verdict ----------------------------------------------------------------------------------
        bad = Signal()
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
            bad.eq(wrong | ~crc.intact),
            source.drop.eq(source.last & bad),
            self.damaged.eq(ended & bad),
        ]
