# SPDX-License-Identifier: BSD-2-Clause
"""Words of the bus, one access after the other."""

from __future__ import annotations

from litex.gen import *
from litex.soc.interconnect import stream, wishbone
from migen import *

from spatten_drivers.link.format import MAX_WORDS, Status

from .layouts import COUNT_BITS, word_layout

STATUS_BITS = 4


class BusMaster(LiteXModule):
    """Reads or writes consecutive words; ends at the first that fails. What was read can be had again.

    Parameters
    ----------
    timeout : cycles an access may take. It must be shorter than that of the bus itself: LiteX's gives ones
        for a read that nobody answers, and calls it a success.

    Attributes
    ----------
    bus : wishbone.Interface, master, 32 bits.
    start : Signal, in: begin; a pulse. ``write``, ``address`` and ``count`` stay until ``done``.
    write : Signal, in.
    address : Signal(32), in: byte address of the first word.
    count : Signal, in: words, 1 to 352.
    sink : Endpoint, in, of :func:`.word_layout`: what to write.
    done : Signal, out: ended; a pulse.
    status : Signal(4), out, with ``done``.
    at : Signal(32), out, with ``done``: byte address of the word that failed, or behind the last one.
    replay : Signal, in: give out what was read, ``count`` words; a pulse.
    source : Endpoint, out, of :func:`.word_layout`: that; ``last`` at the last.
    """

    def __init__(self, timeout: int) -> None:
        self.bus = wishbone.Interface(data_width=32, address_width=32, addressing="word")
        self.start = Signal()
        self.write = Signal()
        self.address = Signal(32)
        self.count = Signal(COUNT_BITS)
        self.sink = stream.Endpoint(word_layout())
        self.done = Signal()
        self.status = Signal(STATUS_BITS)
        self.at = Signal(32)
        self.replay = Signal()
        self.source = stream.Endpoint(word_layout())

        # # #

        memory = Memory(32, 1 << (MAX_WORDS - 1).bit_length())
        self._writer = writer = memory.get_port(write_capable=True, mode=READ_FIRST)
        self._reader = reader = memory.get_port(has_re=True, mode=READ_FIRST)
        self.specials += memory, writer, reader
        self._index = Signal(COUNT_BITS)  # of the word on the bus
        self._waited = Signal(max=timeout + 1)
        ended, active = Signal(), Signal()
        self._wire(ended, active)
        self._steps(timeout, ended, active)
        self._give_out()

    # Accesses ----------------------------------------------------------------------------------------

    def _wire(self, ended: Signal, active: Signal) -> None:
        """The bus between stream and memory; a word to write leaves its stream when its access ends."""
        bus, sink, writer = self.bus, self.sink, self._writer
        self.comb += [
            bus.cyc.eq(active),
            bus.stb.eq(active),
            bus.we.eq(self.write),
            bus.sel.eq(0b1111),
            bus.adr.eq(self.at[2:]),
            bus.dat_w.eq(sink.data),
            writer.adr.eq(self._index),
            writer.dat_w.eq(bus.dat_r),
            writer.we.eq(active & bus.ack & ~self.write),
            sink.ready.eq(active & self.write & ended),
        ]

    def _steps(self, timeout: int, ended: Signal, active: Signal) -> None:
        """Word after word, the bus left for a cycle after each, till the last or the first that fails."""
        index, waited = self._index, self._waited
        self.fsm = fsm = FSM(reset_state="IDLE")
        fsm.act(
            "IDLE",
            NextValue(index, 0),
            NextValue(self.at, self.address),
            NextValue(waited, 0),
            If(self.start, NextState("ACCESS")),
        )
        fsm.act(
            "ACCESS",
            active.eq(self.sink.valid | ~self.write),
            NextValue(waited, waited + active),
            self._verdict(timeout, ended, active),
        )
        fsm.act(
            "BETWEEN",
            NextValue(waited, 0),
            If(index == self.count, NextState("DONE")).Else(NextState("ACCESS")),
        )
        fsm.act("DONE", self.done.eq(1), NextState("IDLE"))

    def _verdict(self, timeout: int, ended: Signal, active: Signal) -> If:
        """How an access ends: refused, answered, or not in time. Only after an answer does the next begin."""
        bus = self.bus
        return (
            If(
                active & bus.err,
                ended.eq(1),
                NextValue(self.status, Status.BUS_ERROR),
                NextState("DONE"),
            )
            .Elif(
                active & bus.ack,
                ended.eq(1),
                NextValue(self.status, Status.OK),
                NextValue(self.at, self.at + 4),
                NextValue(self._index, self._index + 1),
                NextState("BETWEEN"),
            )
            .Elif(
                self._waited == timeout,
                ended.eq(1),
                NextValue(self.status, Status.BUS_TIMEOUT),
                NextState("DONE"),
            )
        )

    # What was read -----------------------------------------------------------------------------------

    def _give_out(self) -> None:
        """``count`` words from the memory, one a cycle, as often as they are asked for."""
        source, reader = self.source, self._reader
        place = Signal(COUNT_BITS)
        reading = Signal()
        self.comb += [
            reader.adr.eq(place),
            reader.re.eq(reading & (~source.valid | source.ready)),
            source.data.eq(reader.dat_r),
        ]
        self.sync += [
            If(source.ready, source.valid.eq(0)),
            If(
                reader.re,
                source.valid.eq(1),
                source.last.eq(place + 1 == self.count),
                place.eq(place + 1),
                If(place + 1 == self.count, reading.eq(0)),
            ),
            If(self.replay, reading.eq(1), place.eq(0)),
        ]
