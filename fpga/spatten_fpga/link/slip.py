# SPDX-License-Identifier: BSD-2-Clause
"""Frames on a line of bytes, as RFC 1055 (SLIP) has them, from and to words."""

from __future__ import annotations

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from spatten_drivers.link.slip import END, ESCAPE, ESCAPED_END, ESCAPED_ESCAPE

from .layouts import packet_layout, whole_layout


def byte_layout() -> list:
    """A byte of a line."""
    return [("data", 8)]


class SlipDecoder(LiteXModule):
    """Bytes to packets. A packet that does not end with a whole word, or holds a wrong escape, is damaged.

    A word goes on when the byte behind it has come, so that the last one is known.

    Attributes
    ----------
    sink : Endpoint, in, of :func:`byte_layout`. A line cannot wait: what takes the words must be faster.
    source : Endpoint, out, of :func:`.packet_layout`; ``peer`` is 0.

    Source: RFC 1055.
    """

    def __init__(self) -> None:
        self.sink = sink = stream.Endpoint(byte_layout())
        self.source = source = stream.Endpoint(packet_layout())

        # # #

        held = Signal(32)
        count = Signal(max=5)  # bytes of the word that is held
        escaped, wrong = Signal(), Signal()
        moved, ends, escapes, gives = Signal(), Signal(), Signal(), Signal()
        byte = Signal(8)
        self.comb += [
            sink.ready.eq(~source.valid | source.ready),
            moved.eq(sink.valid & sink.ready),
            ends.eq(sink.data == END),
            escapes.eq((sink.data == ESCAPE) & ~escaped),
            byte.eq(sink.data),
            If(
                escaped,
                If(sink.data == ESCAPED_END, byte.eq(END)),
                If(sink.data == ESCAPED_ESCAPE, byte.eq(ESCAPE)),
            ),
            gives.eq(moved & Mux(ends, count != 0, (count == 4) & ~escapes)),
        ]
        bad = wrong | escaped | (count != 4)
        self.sync += [
            If(source.ready, source.valid.eq(0)),
            If(gives, source.valid.eq(1), source.data.eq(held), source.last.eq(ends), source.damaged.eq(bad)),
            If(
                moved,
                If(ends, count.eq(0), escaped.eq(0), wrong.eq(0))
                .Elif(escapes, escaped.eq(1))
                .Else(
                    escaped.eq(0),
                    If(escaped & (sink.data != ESCAPED_END) & (sink.data != ESCAPED_ESCAPE), wrong.eq(1)),
                    count.eq(Mux(count == 4, 1, count + 1)),
                    held.eq(Cat(held[8:], byte)),
                ),
            ),
        ]


class SlipEncoder(LiteXModule):
    """Packets to bytes; each begins and ends with an end.

    Attributes
    ----------
    sink : Endpoint, in, of :func:`.whole_layout`.
    source : Endpoint, out, of :func:`byte_layout`.

    Source: RFC 1055.
    """

    def __init__(self) -> None:
        self.sink = sink = stream.Endpoint(whole_layout())
        self.source = source = stream.Endpoint(byte_layout())

        # # #

        place = Signal(2)
        byte = Signal(8)
        onward = [
            NextValue(place, place + 1),
            NextState("BYTE"),
            If(place == 3, sink.ready.eq(1), If(sink.last, NextState("END"))),
        ]
        self.comb += Case(place, {at: byte.eq(sink.data[8 * at : 8 * at + 8]) for at in range(4)})
        self.fsm = fsm = FSM(reset_state="BEGIN")
        fsm.act(
            "BEGIN",
            source.valid.eq(sink.valid),
            source.data.eq(END),
            If(source.valid & source.ready, NextState("BYTE")),
        )
        fsm.act(
            "BYTE",
            source.valid.eq(sink.valid),
            If(
                (byte == END) | (byte == ESCAPE),
                source.data.eq(ESCAPE),
                If(source.valid & source.ready, NextState("ESCAPED")),
            ).Else(source.data.eq(byte), If(source.valid & source.ready, *onward)),
        )
        fsm.act(
            "ESCAPED",
            source.valid.eq(1),
            source.data.eq(Mux(byte == END, ESCAPED_END, ESCAPED_ESCAPE)),
            If(source.ready, *onward),
        )
        fsm.act("END", source.valid.eq(1), source.data.eq(END), If(source.ready, NextState("BEGIN")))


class SerialLink(LiteXModule):
    """A :class:`.LinkEndpoint` on a line of bytes, such as LiteX's ``RS232PHY``.

    Parameters
    ----------
    phy : has ``source``, bytes from the line, and ``sink``, bytes to it.
    link : the endpoint.
    """

    def __init__(self, phy: LiteXModule, link: LiteXModule) -> None:
        self.decoder = decoder = SlipDecoder()
        self.encoder = encoder = SlipEncoder()
        self.comb += [
            phy.source.connect(decoder.sink, keep={"valid", "ready", "data"}),
            decoder.source.connect(link.sink),
            link.source.connect(encoder.sink),
            encoder.source.connect(phy.sink, keep={"valid", "ready", "data"}),
        ]
