# SPDX-License-Identifier: BSD-2-Clause
"""Answers: header, payload, CRC."""

from __future__ import annotations

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from spatten_drivers.link.format import HEADER_WORDS

from .bus_master import STATUS_BITS
from .crc import Crc32
from .layouts import COUNT_BITS, FIRST, PEER_BITS, draft_layout, part, word_layout


class AnswerWriter(LiteXModule):
    """Writes one answer, a word a cycle while the payload comes, and a cycle between it and the CRC.

    Attributes
    ----------
    session, sequence, operation : Signal(32), in: header words of the request; the answer repeats them.
    peer : Signal(48), in: who asked.
    status : Signal(4), in.
    address : Signal(32), in.
    count : Signal, in: words of payload.
    start : Signal, in: begin; a pulse. All of the above stay until ``done``.
    sink : Endpoint, in, of :func:`.word_layout`: the payload, up to its ``last``.
    drop : Signal, in: with ``done``, take the answer back.
    source : Endpoint, out, of :func:`.draft_layout`.
    done : Signal, out: the last word leaves; a pulse.
    """

    def __init__(self) -> None:
        self.session = Signal(32)
        self.sequence = Signal(32)
        self.operation = Signal(32)
        self.peer = Signal(PEER_BITS)
        self.status = Signal(STATUS_BITS)
        self.address = Signal(32)
        self.count = Signal(COUNT_BITS)
        self.start = Signal()
        self.sink = sink = stream.Endpoint(word_layout())
        self.drop = Signal()
        self.source = source = stream.Endpoint(draft_layout())
        self.done = Signal()

        # # #

        self.crc = crc = Crc32()
        place = Signal(max=HEADER_WORDS)
        told = Signal(32)
        self.fsm = fsm = FSM(reset_state="IDLE")
        self.comb += [
            part(told, "OPERATION").eq(part(self.operation, "OPERATION")),
            part(told, "CHAINED").eq(part(self.operation, "CHAINED")),
            part(told, "ANSWER").eq(1),
            part(told, "STATUS").eq(self.status),
            part(told, "COUNT").eq(self.count),
            source.peer.eq(self.peer),
        ]
        self.sync += [
            crc.data.eq(source.data),
            crc.take.eq(source.valid & source.ready),
            crc.first.eq(fsm.ongoing("HEADER") & (place == 0)),
        ]
        fsm.act("IDLE", NextValue(place, 0), If(self.start, NextState("HEADER")))
        fsm.act(
            "HEADER",
            source.valid.eq(1),
            Case(
                place,
                {
                    0: source.data.eq(FIRST),
                    1: source.data.eq(self.session),
                    2: source.data.eq(self.sequence),
                    3: source.data.eq(told),
                    "default": source.data.eq(self.address),
                },
            ),
            If(
                source.ready,
                NextValue(place, place + 1),
                If(
                    place == HEADER_WORDS - 1,
                    If(self.count == 0, NextState("SUM UP")).Else(NextState("PAYLOAD")),
                ),
            ),
        )
        fsm.act(
            "PAYLOAD",
            sink.connect(source, keep={"valid", "ready", "data"}),
            If(sink.valid & sink.ready & sink.last, NextState("SUM UP")),
        )
        fsm.act("SUM UP", NextState("CRC"))  # the last word is on its way into the sum
        fsm.act(
            "CRC",
            source.valid.eq(1),
            source.last.eq(1),
            source.drop.eq(self.drop),
            source.data.eq(crc.value),
            If(source.ready, self.done.eq(1), NextState("IDLE")),
        )
