# SPDX-License-Identifier: BSD-2-Clause
"""What is left to do for a job's heads after its last row: their running importance, and who survives."""

from __future__ import annotations

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from .descriptor import HEAD_ID_BITS
from .geometry import HEAD_IMPORTANCE_BITS, HEAD_SUM_BITS, MULT_BITS, SHIFT_BITS, Geometry
from .head_importance import HeadImportance
from .head_rank import HeadRank
from .port import address_bits, write_layout
from .word_reader import WordReader
from .writeback import WriteBack

WORD_BITS = 64  # of the running importance in memory
ENTRY_BITS = 16  # of a surviving head


class HeadFinish(LiteXModule):
    """Writes the running importance of all heads, then the list of the surviving ones.

    Head ids are walked in order beside the head table. A head that is live gets its new importance, as soon
    as its sum is complete, and is ranked; a word of another one stays, or becomes 0. So all heads but the
    last are done while rows are computed. Both lists are padded to a beat with zeros.

    About 25 cycles and ``importance_shift`` for a live head, 3 for another one. Then ``n + 6`` cycles for
    each of ``n`` live heads. Lists go out a beat a cycle.

    Parameters
    ----------
    geometry : sizes of the core.

    Attributes
    ----------
    start : Signal, in: a pulse, when old importance may be read.
    summed : Signal, in: live heads whose sums are complete, the first ones of the table.
    done : Signal, out: all was accepted at ``write``; 0 after reset and once ``start`` was seen.
    total_heads, n_heads, keep_heads : Signal(8), in, of the job. All inputs but ``start`` stay from ``start``
        to ``done``.
    add_heads : Signal, in, of the job.
    importance_address, survivors_address : Signal, in, beats.
    head_index : Signal, out: a place in the head table; a cycle later come
    head_id, importance_mult, importance_shift : Signal, in, of that entry.
    sum_index, sum : Signal, out, and Signal(33), in a cycle later: what a live head's outputs sum up to.
    port : ReadPort, out: old importance, if ``add_heads``; a beat is read before it is written.
    write : Endpoint, out, ``write_layout``: importance, then survivors; each beat is a burst.

    Source: contract, sections 6.3 and 7; paper section III-B (cascade head pruning).
    """

    def __init__(self, geometry: Geometry) -> None:
        heads = geometry.config.max_heads
        self.start = start = Signal()
        self.summed = Signal(HEAD_ID_BITS)
        self.done = Signal()
        self.total_heads, self.n_heads, self.keep_heads = (Signal(HEAD_ID_BITS) for _ in range(3))
        self.add_heads = Signal()
        self.importance_address = Signal(address_bits(geometry))
        self.survivors_address = Signal(address_bits(geometry))
        self.head_index = Signal(max=max(2, heads))
        self.head_id = Signal(HEAD_ID_BITS)
        self.importance_mult = Signal(MULT_BITS)
        self.importance_shift = Signal(SHIFT_BITS)
        self.sum_index = Signal.like(self.head_index)
        self.sum = Signal(HEAD_SUM_BITS)
        self.write = stream.Endpoint(write_layout(geometry))

        # # #

        self.reader = reader = WordReader(geometry, WORD_BITS, heads)
        self.arithmetic = HeadImportance(HEAD_SUM_BITS)
        self.rank = rank = HeadRank(heads)
        self.importance = importance = WriteBack(geometry, WORD_BITS)
        self.survivors = survivors = WriteBack(geometry, ENTRY_BITS)
        self.port = reader.port
        self.comb += [
            importance.start.eq(start),
            importance.base.eq(self.importance_address),
            survivors.start.eq(start),
            survivors.base.eq(self.survivors_address),
            reader.start.eq(start & self.add_heads),
            reader.base.eq(self.importance_address),
            reader.count.eq(self.total_heads),
            rank.keep.eq(self.keep_heads),
        ]
        self._arithmetic()
        self._walk(heads)
        self._lists()

    def _arithmetic(self) -> None:
        """A live head's new importance: the sum comes whole, as one magnitude."""
        arithmetic, rank, old = self.arithmetic, self.rank, self.reader.source
        top = old.data[HEAD_IMPORTANCE_BITS:]  # memory may hold anything: saturate it first
        self.comb += [
            arithmetic.sink.magnitude.eq(self.sum),
            arithmetic.sink.last.eq(1),
            arithmetic.update.old.eq(
                old.data[:HEAD_IMPORTANCE_BITS] | Replicate(top != 0, HEAD_IMPORTANCE_BITS)
            ),
            arithmetic.update.mult.eq(self.importance_mult),
            arithmetic.update.shift.eq(self.importance_shift),
            arithmetic.update.add.eq(self.add_heads),
            rank.sink.importance.eq(arithmetic.source.new),
            rank.sink.head_id.eq(self.head_id),
        ]

    def _walk(self, heads: int) -> None:
        """From head to head of at most so many: each is looked up, and kept or updated."""
        arithmetic, rank, importance, old = self.arithmetic, self.rank, self.importance, self.reader.source
        head = Signal(HEAD_ID_BITS, reset_less=True)
        place = Signal(max=heads + 1, reset_less=True)  # in the head table
        known, final = Signal(), Signal()  # the old word is there; this head is the last
        following = Signal()  # on to the next head
        self.comb += [
            self.head_index.eq(place),
            self.sum_index.eq(place),
            known.eq(old.valid | ~self.add_heads),
            final.eq(head + 1 == self.total_heads),
            rank.sink.last.eq(place + 1 == self.n_heads),
            importance.sink.last.eq(final),
            following.eq(importance.sink.valid & importance.sink.ready),
            old.ready.eq(following & self.add_heads),
        ]
        self.fsm = fsm = FSM(reset_state="IDLE")
        fsm.act(
            "IDLE",
            If(
                self.start,
                NextValue(self.done, 0),
                NextValue(head, 0),
                NextValue(place, 0),
                NextState("LOOK-UP"),
            ),
        )
        onward = [NextValue(head, head + 1), NextState("LOOK-UP"), If(final, NextState("LIST"))]
        fsm.act("LOOK-UP", NextState("MATCH"))
        fsm.act(
            "MATCH",
            If(
                (place != self.n_heads) & (self.head_id == head),
                If(place < self.summed, arithmetic.sink.valid.eq(1), NextState("UPDATE")),
            ).Else(NextState("KEEP")),
        )
        fsm.act(
            "KEEP",
            importance.sink.valid.eq(known),
            If(self.add_heads, importance.sink.data.eq(old.data)),
            If(following, *onward),
        )
        fsm.act(
            "UPDATE",
            arithmetic.update.valid.eq(known),
            If(arithmetic.update.valid & arithmetic.update.ready, NextState("TAKE")),
        )
        fsm.act(
            "TAKE",
            importance.sink.valid.eq(arithmetic.source.valid),
            importance.sink.data.eq(arithmetic.source.new),
            arithmetic.source.ready.eq(importance.sink.ready),
            rank.sink.valid.eq(following),
            If(following, NextValue(place, place + 1), *onward),
        )

    def _lists(self) -> None:
        """To memory: survivors after importance."""
        rank, importance, survivors, write = self.rank, self.importance, self.survivors, self.write
        listing, ended, region_end = Signal(), Signal(), Signal()
        self.comb += [
            survivors.sink.valid.eq(rank.source.valid),
            survivors.sink.data.eq(rank.source.head_id),
            survivors.sink.last.eq(rank.source.last),
            rank.source.ready.eq(survivors.sink.ready),
            If(
                listing, survivors.source.connect(write, omit={"last"}), region_end.eq(survivors.source.last)
            ).Else(importance.source.connect(write, omit={"last"}), region_end.eq(importance.source.last)),
            write.last.eq(1),
            ended.eq(write.valid & write.ready & region_end),
        ]
        self.fsm.act("LIST", If(ended & listing, NextValue(self.done, 1), NextState("IDLE")))
        self.sync += [If(ended, listing.eq(1)), If(self.start, listing.eq(0))]
