# SPDX-License-Identifier: BSD-2-Clause
"""Whose turn it is: the session, the number that comes next, and what to make of a request."""

from __future__ import annotations

from litex.gen import *
from migen import *

from spatten_drivers.link.format import Operation

from .layouts import PEER_BITS, part

TICKS_BITS = 32


class Session(LiteXModule):
    """The rules by which a request is executed once: ``docs/link.md``, "Sessions and numbers".

    What a request is, is known 2 cycles after its fields are at the inputs. A ticket is the time at which it
    was given, so a packet that was recorded has the wrong one.

    Attributes
    ----------
    session, sequence, operation, address : Signal(32), in: header of the request.
    peer : Signal(48), in: where it comes from.
    is_identify : Signal, out: needs no session.
    is_open : Signal, out: opens a session if ``has_ticket``; it is of no session that is known.
    has_ticket : Signal, out: the ticket is the one that was given last, and was not used.
    is_mine : Signal, out: of the session.
    is_next, is_repeated, is_late : Signal, out: of the session, and its number is the next, the last, or an
        older one.
    ask : Signal, in: a ticket is asked for; a pulse.
    open, advance, close : Signal, in: begin this session, take this number, end it; pulses.
    holder, last, ticket : Signal(32), out: the session, the number executed last, the ticket or 0.
    holder_peer : Signal(48), out: where the session was opened from.
    """

    def __init__(self) -> None:
        self.session = Signal(32)
        self.sequence = Signal(32)
        self.operation = Signal(32)
        self.address = Signal(32)
        self.peer = Signal(PEER_BITS)
        self.is_identify = Signal()
        self.is_open = Signal()
        self.has_ticket = Signal()
        self.is_mine = Signal()
        self.is_next = Signal()
        self.is_repeated = Signal()
        self.is_late = Signal()
        self.ask = Signal()
        self.open = Signal()
        self.advance = Signal()
        self.close = Signal()
        self.holder = Signal(32)
        self.last = Signal(32)
        self.ticket = Signal(32)
        self.holder_peer = Signal(PEER_BITS)

        # # #

        # State ------------------------------------------------------------------------------------
        ticks = Signal(TICKS_BITS)
        given = Signal()
        self.sync += [
            ticks.eq(ticks + 1),
            If(self.ask & ~given, given.eq(1), self.ticket.eq(ticks)),
            If(self.open, given.eq(0), self.ticket.eq(0)),
            If(self.open, self.holder.eq(self.session), self.holder_peer.eq(self.peer)),
            If(self.close, self.holder.eq(0)),
            If(self.open | self.advance, self.last.eq(self.sequence)),
        ]

        # Request ----------------------------------------------------------------------------------
        ahead = Signal(32)
        same, presented, identifies = Signal(), Signal(), Signal()
        mine = same & ~identifies
        operation = part(self.operation, "OPERATION")
        self.sync += [
            ahead.eq(self.sequence - self.last),
            same.eq((self.session == self.holder) & (self.holder != 0)),
            presented.eq(given & (self.address == self.ticket)),
            identifies.eq(operation == Operation.IDENTIFY),
            # A second rank: the executor has much to decide by these.
            self.is_identify.eq(identifies),
            self.is_mine.eq(mine),
            self.is_open.eq((operation == Operation.OPEN) & ~same),
            self.has_ticket.eq(presented),
            self.is_repeated.eq(mine & (ahead == 0)),
            self.is_next.eq(mine & (ahead == 1)),
            self.is_late.eq(mine & ahead[31]),
        ]
