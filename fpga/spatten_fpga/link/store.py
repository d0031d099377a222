# SPDX-License-Identifier: BSD-2-Clause
"""A ring of packets that gives out none before it is whole."""

from __future__ import annotations

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from .layouts import PEER_BITS, WORDS_BITS, draft_layout, whole_layout

MARGIN = 3  # words: room is told a cycle late


class PacketStore(LiteXModule):
    """Keeps packets in block RAM; a packet that turns out bad at its end has never been there.

    A word a cycle at both ends. The first word of a packet comes 3 cycles after its last one was taken. While
    the ring is full, words wait at the sink, so the longest packet must fit with room to spare.

    Parameters
    ----------
    depth : words of the ring, a power of two.
    packets : most packets in it.

    Attributes
    ----------
    sink : Endpoint, in, of :func:`.draft_layout`. Its ready is a register.
    source : Endpoint, out, of :func:`.whole_layout`; ``peer`` is that of the packet's last word.
    """

    def __init__(self, depth: int = 1024, packets: int = 16) -> None:
        self.sink = sink = stream.Endpoint(draft_layout())
        self.source = source = stream.Endpoint(whole_layout())

        # # #

        memory = Memory(33, depth)
        writer = memory.get_port(write_capable=True, mode=READ_FIRST)
        reader = memory.get_port(has_re=True, mode=READ_FIRST)
        self.specials += memory, writer, reader
        self.packets = known = stream.SyncFIFO([("peer", PEER_BITS), ("words", WORDS_BITS)], packets)

        # In: written at once, there once the last word is good ---------------------------------------
        begin, end, out = Signal(max=depth), Signal(max=depth), Signal(max=depth)
        words = Signal(WORDS_BITS, reset=1)  # of the packet, this one included
        free = Signal(max=depth)
        room, moved = Signal(), Signal()
        self.comb += [
            free.eq(out - end - 1),
            sink.ready.eq(room),
            moved.eq(sink.valid & sink.ready),
            writer.adr.eq(end),
            writer.dat_w.eq(Cat(sink.data, sink.last)),
            writer.we.eq(moved),
            known.sink.valid.eq(moved & sink.last & ~sink.drop),
            known.sink.peer.eq(sink.peer),
            known.sink.words.eq(words),
        ]
        self.sync += [
            # A packet has at least two words, so the list's level counts the last one in time.
            room.eq((free > MARGIN) & (known.level < packets - 1)),
            If(moved, end.eq(end + 1), words.eq(words + 1)),
            If(moved & sink.last, words.eq(1), begin.eq(Mux(sink.drop, begin, end + 1))),
            If(moved & sink.last & sink.drop, end.eq(begin)),
        ]

        # Out --------------------------------------------------------------------------------------
        self.behind = behind = stream.PipeValid(whole_layout())  # a block RAM's word is late in its cycle
        word = behind.sink
        self.comb += [
            reader.adr.eq(out),
            reader.re.eq((out != begin) & (~word.valid | word.ready)),
            Cat(word.data, word.last).eq(reader.dat_r),
            word.peer.eq(known.source.peer),
            word.words.eq(known.source.words),
            known.source.ready.eq(word.valid & word.ready & word.last),
            behind.source.connect(source),
        ]
        self.sync += [
            If(word.ready, word.valid.eq(0)),
            If(reader.re, word.valid.eq(1), out.eq(out + 1)),
        ]
