# SPDX-License-Identifier: BSD-2-Clause
"""Requests, one after the other: judged, executed if it is their turn, answered."""

from __future__ import annotations

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from spatten_drivers.link.format import IDENTITY_WORDS, MAX_WORDS, Operation, Status
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.port import beat_shift

from .answer import AnswerWriter
from .blocks import BlockAccess
from .bus_master import STATUS_BITS, BusMaster
from .identity import IdentityWords
from .layouts import (
    ADDRESS,
    COUNT_BITS,
    OPERATION,
    PEER_BITS,
    SEQUENCE,
    SESSION,
    WORDS_BITS,
    draft_layout,
    part,
    whole_layout,
)
from .session import Session

STORED_OVERHEAD = 5  # words of a stored request that are not payload: the header without its first, the CRC


class Executor(LiteXModule):
    """Takes whole requests and gives their answers.

    How the last request in order ended is kept in two registers, and what it read from the bus as words; that
    is all it takes to answer it again, as blocks of memory can be read again.

    Parameters
    ----------
    geometry : of device memory.
    memory_bytes : size of it.
    bus_timeout : cycles, see :class:`.BusMaster`.

    Attributes
    ----------
    sink : Endpoint, in, of :func:`.whole_layout`.
    source : Endpoint, out, of :func:`.draft_layout`.
    damaged : Signal, in: a packet was dropped before it came here; a pulse.
    bus : wishbone.Interface, master.
    port : MemoryPort, out.
    """

    def __init__(self, geometry: Geometry, memory_bytes: int, bus_timeout: int) -> None:
        self.sink = stream.Endpoint(whole_layout())
        self.source = stream.Endpoint(draft_layout())
        self.damaged = Signal()
        self.session = Session()
        self.bus_master = BusMaster(bus_timeout)
        self.blocks = BlockAccess(geometry)
        self.answer = AnswerWriter()
        self.bus = self.bus_master.bus
        self.port = self.blocks.port

        # # #

        self._take_header()
        self._judge_form(geometry, memory_bytes)
        self._connect(geometry, memory_bytes)
        self._run()

    def _take_header(self) -> None:
        """Registers of the request, filled as it comes."""
        sink = self.sink
        self.words = Array(Signal(32) for _ in range(4))
        self.peer = Signal(PEER_BITS)
        self.length = Signal(WORDS_BITS)
        self.place = Signal(2)
        self.taking = Signal()
        self.sync += If(
            self.taking & sink.valid,
            self.words[self.place].eq(sink.data),
            self.place.eq(self.place + 1),
            self.peer.eq(sink.peer),
            self.length.eq(sink.words),
        )

    def _judge_form(self, geometry: Geometry, memory_bytes: int) -> None:
        """Whether count, length and address make sense; a register, as what it is made of stays for long."""
        operation, address = self.words[OPERATION], self.words[ADDRESS]
        self.count = Signal(COUNT_BITS)
        self.is_read = Signal()
        self.is_write = Signal()
        self.is_block = Signal()
        self.proper = Signal()
        self.placed = Signal()
        count, code = part(operation, "COUNT"), part(operation, "OPERATION")
        payload = Signal(WORDS_BITS)
        size, behind = Signal(COUNT_BITS + 2), Signal(33)
        shift = beat_shift(geometry)
        inside = Signal()
        self.comb += [
            self.count.eq(count),
            self.is_read.eq((code == Operation.READ) | (code == Operation.READ_BLOCK)),
            self.is_write.eq((code == Operation.WRITE) | (code == Operation.WRITE_BLOCK)),
            self.is_block.eq((code == Operation.READ_BLOCK) | (code == Operation.WRITE_BLOCK)),
            payload.eq(self.length - STORED_OVERHEAD),
            size.eq(Cat(C(0, 2), self.count)),
            behind.eq(address + size),
            inside.eq((behind <= memory_bytes) & ((address[:shift] | size[:shift]) == 0)),
        ]
        self.sync += [
            self.proper.eq(
                (payload == Mux(self.is_write, self.count, 0))
                & Mux(self.is_read | self.is_write, (count != 0) & (count <= MAX_WORDS), count == 0)
            ),
            self.placed.eq(Mux(self.is_block, inside, address[:2] == 0)),
        ]

    def _connect(self, geometry: Geometry, memory_bytes: int) -> None:
        """Header to everyone, payload from and to whoever is at work."""
        session, answer, bus, blocks = self.session, self.answer, self.bus_master, self.blocks
        words, code = self.words, part(self.words[OPERATION], "OPERATION")
        damaged, stale = Signal(16), Signal(16)
        self.late = Signal()
        self.identity = identity = IdentityWords(
            {
                "MAX_WORDS": MAX_WORDS,
                "BEAT_BYTES": geometry.config.beat_bytes,
                "MEMORY_BYTES": memory_bytes,
                "TICKET": session.ticket,
                "HOLDER": session.holder,
                "LAST": session.last,
                "HOLDER_IP": session.holder_peer[16:],
                "HOLDER_PORT": session.holder_peer[:16],
                "DAMAGED": damaged,
                "STALE": stale,
            }
        )
        self.wants_identity = Signal()
        for part_ in (session, answer):
            self.comb += [
                part_.session.eq(words[SESSION]),
                part_.sequence.eq(words[SEQUENCE]),
                part_.operation.eq(words[OPERATION]),
                part_.peer.eq(self.peer),
            ]
        self.comb += [
            session.address.eq(words[ADDRESS]),
            bus.address.eq(words[ADDRESS]),
            blocks.address.eq(words[ADDRESS]),
            bus.count.eq(self.count),
            blocks.count.eq(self.count),
            bus.write.eq(self.is_write),
            blocks.write.eq(self.is_write),
            self.identity.start.eq(answer.start),
            If(self.wants_identity, identity.source.connect(answer.sink))
            .Elif(code == Operation.READ, bus.source.connect(answer.sink))
            .Else(blocks.source.connect(answer.sink)),
            answer.source.connect(self.source),
        ]
        self.sync += [
            If(self.damaged & (damaged != 0xFFFF), damaged.eq(damaged + 1)),
            If(self.late & (stale != 0xFFFF), stale.eq(stale + 1)),
        ]

    def _run(self) -> None:
        """The course of a request."""
        code = part(self.words[OPERATION], "OPERATION")
        self.outcome, self.fault = Signal(STATUS_BITS), Signal(32)  # of the last request in order
        self.payload = Signal()  # the answer has one
        status = self.answer.status
        self.comb += [
            self.answer.count.eq(Mux(self.payload, Mux(self.wants_identity, IDENTITY_WORDS, self.count), 0)),
            self.payload.eq((status == Status.OK) & (self.wants_identity | self.is_read)),
            self.wants_identity.eq((code == Operation.IDENTIFY) | (code == Operation.OPEN)),
        ]
        self.fsm = FSM(reset_state="TAKE HEADER")
        self._judge()
        self._execute(code)
        self._give_answer()

    def _end(self, result: Status) -> list:
        """The request in order ends like that, and is answered so however often it comes."""
        return [NextValue(self.outcome, result), NextState("ANSWER")]

    def _refuse(self, result: Status, at: Signal | int) -> list:
        """An answer that changes nothing."""
        return [
            NextValue(self.answer.status, result),
            NextValue(self.answer.address, at),
            NextState("WRITE ANSWER"),
        ]

    def _judge(self) -> None:
        """What a request is, of the session's point of view."""
        session, sink, words, fault = self.session, self.sink, self.words, self.fault
        skips = part(words[OPERATION], "CHAINED") & (self.outcome != Status.OK)
        self.fsm.act(
            "TAKE HEADER",
            self.taking.eq(1),
            sink.ready.eq(1),
            If(sink.valid & (self.place == 3), NextState("JUDGE")),
        )
        self.fsm.delayed_enter("JUDGE", "DECIDE", 2)  # the verdicts are two ranks of registers
        self.fsm.act(
            "DECIDE",
            If(
                session.is_identify,
                If(self.proper, session.ask.eq(1), *self._refuse(Status.OK, words[ADDRESS])).Else(
                    *self._refuse(Status.BAD_REQUEST, 0)
                ),
            )
            .Elif(
                session.is_repeated,
                # Whatever comes under this number: no read may be begun that does not end.
                If(self.proper & (self.placed | ~self.is_block), NextState("ANSWER")).Else(
                    *self._refuse(Status.BAD_REQUEST, 0)
                ),
            )
            .Elif(
                session.is_next,
                session.advance.eq(1),
                If(skips, *self._end(Status.SKIPPED)).Else(
                    NextValue(fault, words[ADDRESS]), NextState("EXECUTE")
                ),
            )
            .Elif(session.is_late, self.late.eq(1), NextState("DRAIN"))
            .Elif(session.is_mine, *self._refuse(Status.EARLY, session.last))
            .Elif(~session.is_open, *self._refuse(Status.WRONG_SESSION, session.holder))
            .Elif(~self.proper | (words[SESSION] == 0), *self._refuse(Status.BAD_REQUEST, 0))
            .Elif(~session.has_ticket, *self._refuse(Status.WRONG_TICKET, 0))
            .Else(session.open.eq(1), NextValue(fault, words[ADDRESS]), *self._end(Status.OK)),
        )

    def _execute(self, code: Signal) -> None:
        """What the next request in order does; a read of a block is done as its answer is written."""
        session, bus, blocks, sink = self.session, self.bus_master, self.blocks, self.sink
        outcome, fault = self.outcome, self.fault
        self.fsm.act(
            "EXECUTE",
            If(~self.proper, *self._end(Status.BAD_REQUEST))
            .Elif(code == Operation.CLOSE, session.close.eq(1), *self._end(Status.OK))
            .Elif(~(self.is_read | self.is_write), *self._end(Status.BAD_REQUEST))
            .Elif(~self.placed, *self._end(Status.BAD_ADDRESS))
            .Elif(~self.is_block, bus.start.eq(1), NextState("USE BUS"))
            .Elif(self.is_write, blocks.start.eq(1), NextState("WRITE BLOCK"))
            .Else(*self._end(Status.OK)),
        )
        self.fsm.act(
            "USE BUS",
            sink.connect(bus.sink, keep={"valid", "ready", "data"}),
            If(bus.done, NextValue(outcome, bus.status), NextValue(fault, bus.at), NextState("ANSWER")),
        )
        self.fsm.act(
            "WRITE BLOCK",
            sink.connect(blocks.sink, keep={"data"}),
            blocks.sink.valid.eq(sink.valid & ~sink.last),  # the last word is the CRC
            sink.ready.eq(blocks.sink.ready & ~sink.last),
            If(
                blocks.done,
                *self._end(Status.OK),
                If(blocks.failed, NextValue(outcome, Status.MEMORY_ERROR)),
            ),
        )

    def _give_answer(self) -> None:
        """The answer, of this time or an earlier one, then the rest of the packet away."""
        answer, bus, blocks, sink = self.answer, self.bus_master, self.blocks, self.sink
        address = Mux(self.outcome == Status.OK, self.words[ADDRESS], self.fault)
        is_reading = self.payload & ~self.wants_identity
        failed = Signal()
        self.comb += [
            failed.eq(is_reading & self.is_block & blocks.failed),
            answer.drop.eq(failed),
        ]
        self.fsm.act(
            "ANSWER",
            NextValue(answer.status, self.outcome),
            NextValue(answer.address, address),
            NextState("WRITE ANSWER"),
        )
        self.fsm.act(
            "WRITE ANSWER",
            answer.start.eq(1),
            bus.replay.eq(is_reading & ~self.is_block),
            blocks.start.eq(is_reading & self.is_block),
            NextState("FOLLOW ANSWER"),
        )
        self.fsm.act(
            "FOLLOW ANSWER",
            If(answer.done, If(failed, *self._end(Status.MEMORY_ERROR)).Else(NextState("DRAIN"))),
        )
        self.fsm.act("DRAIN", sink.ready.eq(1), If(sink.valid & sink.last, NextState("TAKE HEADER")))
