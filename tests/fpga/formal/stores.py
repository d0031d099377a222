# SPDX-License-Identifier: BSD-2-Clause
"""Proofs of units that keep tokens in memory and give them more than once."""

from __future__ import annotations

from migen import Array, Cat, If, Mux, Signal

from spatten_fpga.core.convert import LSB_BITS
from spatten_fpga.core.operand_buffer import LSB, MSB, OperandBuffer
from spatten_fpga.core.query_store import QueryStore
from spatten_fpga.core.replay import ROWS, Replay
from spatten_fpga.formal.proof import Proof
from spatten_fpga.formal.rules import Ledger, Progress
from spatten_fpga.formal.sby import BMC

from .cases import Case, Tiny
from .streams import moved


def replay(broken: str | None = None) -> Proof:
    """A ring of 2 tokens of 1 bit; rows of up to 2 tokens, given once or twice.

    All tokens are kept in four times the places of the ring, so what the ring overwrites too early differs.
    """
    ring = 2
    dut = Replay([("data", 1)], ring)
    proof = Proof(dut, broken)
    row, sink = proof.sink("row", dut.row), proof.sink("sink", dut.sink)
    source = proof.source("source", dut.source)
    proof.assume("passes", ~row.valid | (row.passes == 1) | (row.passes == 2))
    came, fresh = Signal(max=ring), Signal(reset=1)  # of the row that comes
    proof.sync += If(moved(sink), fresh.eq(sink.last), came.eq(Mux(sink.last, 0, came + 1)))
    proof.assume("rows_fit", ~sink.valid | sink.last | (came != ring - 1))

    tokens = [Signal(2, reset_less=True) for _ in range(4 * ring)]
    stored, given, begin = (Signal(max=4 * ring) for _ in range(3))
    again, closing, oldest = Signal(), Signal(), Signal(2)
    rows = Ledger(2, ROWS + 1)
    closes = moved(source) & source.end
    proof.comb += [
        rows.put.eq(moved(row)),
        rows.item.eq(row.passes),
        rows.get.eq(closes & closing),
        closing.eq(again | (rows.oldest == 1)),
        oldest.eq(Array(tokens)[given]),
    ]
    proof.sync += [
        If(moved(sink), stored.eq(stored + 1)),
        *(If(moved(sink) & (stored == i), t.eq(Cat(sink.data, sink.last))) for i, t in enumerate(tokens)),
        If(moved(source), given.eq(given + 1)),
        If(closes, If(closing, again.eq(0), begin.eq(given + 1)).Else(again.eq(1), given.eq(begin))),
    ]
    inside = Signal(max=4 * ring)
    proof.comb += inside.eq(stored - begin)
    proof.add("rows", rows)
    proof.check("row_comes_with_its_first_token", moved(row) == (moved(sink) & fresh))
    proof.check("bounded", inside <= 2 * ring)
    proof.check("none_invented", ~source.valid | (given != stored))
    proof.check("tokens", ~source.valid | (Cat(source.data, source.end) == oldest))
    proof.check("last", ~source.valid | (source.last == (source.end & closing)))
    proof.add("progress", Progress(3, given != stored, moved(source), source.ready))
    proof.add("accepts", Progress(2 * ring + 4, sink.valid, moved(sink), source.ready & (~fresh | row.valid)))
    return proof


def queries(broken: str | None = None) -> Proof:
    """Two slots of two segments; the segment at any one place is watched."""
    slots, segments = 2, 2
    dut = QueryStore(Tiny({}, segment=1, padded_dims=(segments,)), slots)
    proof = Proof(dut, broken)
    sink, read = proof.sink("sink", dut.sink), proof.sink("read", dut.read)
    source = proof.source("source", dut.source)
    dim = proof.constant("dim", Signal(8))
    slot, segment = proof.constant("slot", Signal()), proof.constant("segment", Signal())
    proof.comb += dut.dim.eq(dim)
    proof.assume("dim", (dim == 1) | (dim == 2))
    place, whose = Signal(), Signal()
    proof.sync += If(moved(sink), place.eq(Mux(sink.last, 0, place + 1)), whose.eq(sink.slot))
    proof.assume("rows_are_whole", ~sink.valid | (sink.last == (place + 1 == dim)))
    proof.assume("rows_stay_in_a_slot", ~sink.valid | (place == 0) | (sink.slot == whose))

    taken = Ledger(1, 1)
    known, value, at, row = Signal(), Signal.like(sink.elements), Signal(), Signal()
    watched = Signal()
    proof.comb += [
        taken.put.eq(moved(read)),
        taken.item.eq(read.slot),
        taken.get.eq(moved(source) & source.last),
        row.eq(Mux(taken.any, taken.oldest, read.slot)),
        watched.eq(moved(sink) & (sink.slot == slot) & (place == segment)),
    ]
    proof.sync += [
        If(watched, known.eq(1), value.eq(sink.elements)),
        If(moved(source), at.eq(Mux(source.last, 0, at + 1))),
    ]
    reading = (read.valid & (read.slot == slot)) | (taken.any & (taken.oldest == slot))
    proof.assume("not_rewritten_while_read", ~watched | ~reading)
    proof.add("rows", taken)
    proof.check("none_invented", ~source.valid | taken.any | read.valid)
    proof.check("last", ~source.valid | (source.last == (at + 1 == dim)))
    here = known & (row == slot) & (at == segment)
    proof.check("segment", ~source.valid | ~here | (source.elements == value))
    proof.check("takes_all", sink.ready)
    for s, pulse in enumerate(dut.stored):
        proof.check(f"stored{s}", pulse == proof.past(moved(sink) & sink.last & (sink.slot == s)))
    proof.add("progress", Progress(2, read.valid | taken.any, moved(source), source.ready))
    return proof


def operands(broken: str | None = None) -> Proof:
    """Four words of one element of 6 bits; the word at any one place is watched."""
    depth, bits, midpoint = 4, 6, 8
    dut = OperandBuffer(Tiny({}, lanes=1, operand_bits=bits, keys_a_word=1), depth, midpoint)
    proof = Proof(dut, broken)
    sink = proof.sink("sink", dut.sink, ["elements", "base", "lsb", "last"])
    read, source = proof.sink("read", dut.read), proof.source("source", dut.source)
    proof.assume("words", ~read.valid | ((read.words != 0) & (read.words <= depth)))
    proof.assume("use", ~read.valid | (read.use <= LSB))
    offset, base, lsb = Signal(len(sink.base)), Signal(len(sink.base)), Signal()
    proof.sync += If(
        moved(sink), offset.eq(Mux(sink.last, 0, offset + 1)), base.eq(sink.base), lsb.eq(sink.lsb)
    )
    same = (sink.base == base) & (sink.lsb == lsb)
    proof.assume("pass_keeps_its_place", ~sink.valid | (offset == 0) | same)

    watch = proof.constant("watch", Signal(max=depth))
    written, at = Signal(), Signal.like(watch)
    high, low = Signal(bits - LSB_BITS), Signal(LSB_BITS)
    knows_high, knows_low = Signal(), Signal()
    fields = [read.base, read.words, read.full, read.tail, read.use]
    now = [Signal.like(field) for field in fields]  # of the pass that the source gives
    begin, words, full, tail, use = now
    taken = Ledger(sum(map(len, fields)), 2)
    step, place, closes = Signal(max=depth + 1), Signal.like(watch), Signal()
    proof.comb += [
        at.eq(sink.base + offset),
        written.eq(moved(sink) & (at == watch)),
        taken.put.eq(moved(read)),
        taken.item.eq(Cat(*fields)),
        taken.get.eq(moved(source) & source.last),
        Cat(*now).eq(Mux(taken.any, taken.oldest, Cat(*fields))),
        place.eq(begin + step),
        closes.eq(step + 1 == words),
    ]
    proof.sync += [
        If(
            written,
            knows_low.eq(1),
            low.eq(sink.elements[:LSB_BITS]),
            If(~sink.lsb, knows_high.eq(1), high.eq(sink.elements[LSB_BITS:])),
        ),
        If(moved(source), step.eq(Mux(source.last, 0, step + 1))),
    ]
    proof.assume("not_rewritten_while_read", ~written | ~(read.valid | taken.any))
    here = source.valid & (place == watch)
    proof.add("passes", taken)
    proof.check("none_invented", ~source.valid | taken.any | read.valid)
    proof.check("last", ~source.valid | (source.last == closes))
    proof.check("count", ~source.valid | (source.count == Mux(closes, tail, full)))
    upper, lower = source.elements[LSB_BITS:], source.elements[:LSB_BITS]
    proof.check("high", ~here | Mux(use == LSB, upper == 0, ~knows_high | (upper == high)))
    proof.check("low", ~here | Mux(use == MSB, lower == midpoint, ~knows_low | (lower == low)))
    proof.check("takes_all", sink.ready)
    proof.check("stored", dut.stored == proof.past(moved(sink) & sink.last))
    proof.add("progress", Progress(3, read.valid | taken.any, moved(source), source.ready))
    return proof


CASES = {
    "replay": Case(
        "Replay",
        "ring of 2 tokens, rows to 2",
        "each row is given once or twice, whole, in order, as it came; ends of passes and rows are marked;"
        " nothing is overwritten before it was given; what is offered stays; a token within 3 cycles, a place"
        " for one within 8",
        replay,
        BMC,
        10,
        wrong_depth=10,
    ),
    "query store": Case(
        "QueryStore",
        "2 slots of 1 or 2 segments",
        "a row that is asked for is given once, whole, in order, as it was stored last; told when stored;"
        " what is offered stays; a segment within 2 cycles",
        queries,
    ),
    "operand buffer": Case(
        "OperandBuffer",
        "4 words of one element of 6 bits",
        "a pass gives exactly its words in order, with the planes it uses and the midpoint for the other, and"
        " their counts; what is offered stays; a word within 3 cycles",
        operands,
    ),
}
