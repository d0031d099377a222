# SPDX-License-Identifier: BSD-2-Clause
"""Blocks of device memory: words to beats, and beats to words."""

from __future__ import annotations

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.port import MemoryPort, address_bits, beat_shift

from .layouts import COUNT_BITS, word_layout


class BlockAccess(LiteXModule):
    """Reads or writes consecutive whole beats; a word a cycle while memory keeps up.

    Reads are asked for as fast as the port takes them: it lets their data wait.

    Parameters
    ----------
    geometry : of the memory port.

    Attributes
    ----------
    port : MemoryPort, out, of the memory.
    start : Signal, in: begin; a pulse. ``write``, ``address`` and ``count`` stay until ``done``.
    write : Signal, in.
    address : Signal(32), in: byte address of the first beat.
    count : Signal, in: words, whole beats.
    sink : Endpoint, in, of :func:`.word_layout`: what to write.
    source : Endpoint, out, of :func:`.word_layout`: what was read; ``last`` at the last.
    done : Signal, out, from the cycle after ``start`` on: all is read and gone, or all is written and seen by
        every later read.
    failed : Signal, out: the memory reported an error since ``start``.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.port = port = MemoryPort(geometry)
        self.start = Signal()
        self.write = Signal()
        self.address = Signal(32)
        self.count = Signal(COUNT_BITS)
        self.sink = sink = stream.Endpoint(word_layout())
        self.source = source = stream.Endpoint(word_layout())
        self.done = Signal()
        self.failed = Signal()

        # # #

        beat, shift = geometry.beat_bits, beat_shift(geometry)
        asked = Signal(COUNT_BITS)  # beats still to be asked for, or to be written
        words = Signal(COUNT_BITS)  # words still to be given out
        place = Signal(address_bits(geometry))
        self.pack = pack = stream.Converter(32, beat)
        self.unpack = unpack = stream.Converter(beat, 32)
        self.ahead = ahead = stream.Buffer(word_layout())

        # Beats to go ------------------------------------------------------------------------------
        moved = Signal()
        self.comb += moved.eq(
            (port.command.valid & port.command.ready) | (port.write.valid & port.write.ready)
        )
        self.sync += [
            If(moved, asked.eq(asked - 1), place.eq(place + 1)),
            If(
                self.start,
                asked.eq(self.count[shift - 2 :]),
                words.eq(Mux(self.write, 0, self.count)),
                place.eq(self.address[shift:]),
                self.failed.eq(0),
            ).Elif(port.fault, self.failed.eq(1)),
        ]
        self.comb += self.done.eq((asked == 0) & (words == 0) & ~port.writes_pending)

        # Writes -----------------------------------------------------------------------------------
        self.comb += [
            sink.connect(pack.sink, keep={"valid", "ready", "data"}),
            port.write.valid.eq(pack.source.valid),
            port.write.data.eq(pack.source.data),
            port.write.address.eq(place),
            port.write.last.eq(asked == 1),
            pack.source.ready.eq(port.write.ready),
        ]

        # Reads ------------------------------------------------------------------------------------
        self.comb += [
            port.command.valid.eq(~self.write & (asked != 0)),
            port.command.address.eq(place),
            port.data.connect(unpack.sink),
            unpack.source.connect(ahead.sink),
            ahead.source.connect(source, keep={"valid", "ready", "data"}),
            source.last.eq(words == 1),
        ]
        self.sync += If(source.valid & source.ready, words.eq(words - 1))
