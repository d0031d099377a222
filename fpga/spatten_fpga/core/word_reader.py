# SPDX-License-Identifier: BSD-2-Clause
"""A region of memory as a stream of words."""

from __future__ import annotations

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from .geometry import Geometry
from .port import ReadPort, address_bits, data_layout

DEPTH_BYTES = 128  # of the FIFO: covers the latency of memory at a word of 32 bits a cycle
MIN_DEPTH = 4  # beats


def words_layout(bits: int) -> list:
    """A word of memory."""
    return [("data", bits)]


class WordReader(LiteXModule):
    """Reads ``count`` words that lie one after the other from a beat on, and drops the rest of the last beat.

    It asks for no more beats than it has room for, so its data never waits at the port. A word a cycle while
    memory keeps up, or half a beat's worth of a word where a beat is smaller.

    Parameters
    ----------
    geometry : sizes of the core.
    bits : of a word, 32 or 64.
    most : most words of a region.

    Attributes
    ----------
    start : Signal, in: a pulse, after the last word of the region before was taken.
    base : Signal, in, with ``start``: beat address of the first word.
    count : Signal, in, with ``start``: words, 1 to ``most``.
    port : ReadPort, out, of the memory.
    source : Endpoint, out, of :func:`words_layout`; ``last`` with the last word.

    Source: contract, section 3 (importance regions).
    """

    def __init__(self, geometry: Geometry, bits: int, most: int) -> None:
        self.start = Signal()
        self.base = Signal(address_bits(geometry))
        self.count = Signal(max=most + 1)
        self.port = port = ReadPort(geometry)
        self.source = source = stream.Endpoint(words_layout(bits))

        # # #

        beat = geometry.beat_bits
        depth = max(MIN_DEPTH, DEPTH_BYTES // geometry.config.beat_bytes)
        self.fifo = fifo = stream.SyncFIFO(data_layout(geometry), depth)
        self.converter = converter = stream.Converter(beat, max(beat, bits))

        # Commands ---------------------------------------------------------------------------------
        parts = max(1, bits // beat)  # beats of a word
        words = max(1, beat // bits)  # words of a beat
        wanted = Signal(max=most * parts + words)  # beats, then words still to be asked for
        room = Signal(max=depth + 1, reset=depth)
        asked = Signal()
        self.comb += [
            port.command.valid.eq((wanted != 0) & (room != 0)),
            asked.eq(port.command.valid & port.command.ready),
            port.data.connect(fifo.sink),
            fifo.source.connect(converter.sink),
        ]
        self.sync += [
            room.eq(room - asked + (fifo.source.valid & fifo.source.ready)),
            If(asked, port.command.address.eq(port.command.address + 1), wanted.eq(wanted - 1)),
            If(
                self.start,
                port.command.address.eq(self.base),
                wanted.eq((self.count * parts + words - 1) >> log2_int(words)),
            ),
        ]

        # Words ------------------------------------------------------------------------------------
        # Its ready is a register: what takes the words may decide late that it does.
        self.buffer = buffer = stream.Buffer(words_layout(bits), pipe_ready=True)
        left = Signal(max=most + 1, reset_less=True)
        place = Signal(max=max(2, words))
        taken = Signal()
        held = converter.source
        self.comb += [
            buffer.sink.valid.eq(held.valid),
            buffer.sink.last.eq(left == 1),
            Case(
                place,
                {at: buffer.sink.data.eq(held.data[at * bits : (at + 1) * bits]) for at in range(words)},
            ),
            held.ready.eq(buffer.sink.ready & (buffer.sink.last | (place == words - 1))),
            taken.eq(buffer.sink.valid & buffer.sink.ready),
            buffer.source.connect(source),
        ]
        self.sync += [
            If(taken, left.eq(left - 1), place.eq(Mux(held.ready, 0, place + 1))),
            If(self.start, left.eq(self.count)),
        ]
