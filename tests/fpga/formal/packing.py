# SPDX-License-Identifier: BSD-2-Clause
"""Proofs of units that put small pieces together to words."""

from __future__ import annotations

from functools import reduce
from operator import or_

from migen import Cat, If, Mux, Signal

from spatten_fpga.core.lane_pack import LanePack
from spatten_fpga.core.pack import Pack
from spatten_fpga.formal.proof import Proof
from spatten_fpga.formal.rules import Ledger, Order, Progress

from .cases import Case, Tiny
from .streams import moved


def segments(broken: str | None = None) -> Proof:
    """Segments of one element of 1 bit, words of four lanes, keys of 1, 2, 4 or 8 elements."""
    lanes = 4
    geometry = Tiny({"head_dims": (1, 2, 4, 8)}, lanes=lanes, segment=1, operand_bits=1, keys_a_word=lanes)
    dut = Pack(geometry, 1)
    proof = Proof(dut, broken)
    sink = proof.sink("sink", dut.sink, ["elements", "end", "tag", "last"])
    source = proof.source("source", dut.source)
    dim = proof.constant("dim", Signal(8))
    proof.comb += sink.dim.eq(dim)
    proof.assume("dim", reduce(or_, (dim == size for size in geometry.config.head_dims)))
    at, end, tag = Signal(3), Signal(), Signal()  # segments of the row that came
    proof.sync += If(moved(sink), at.eq(Mux(sink.last, 0, at + 1)), end.eq(sink.end), tag.eq(sink.tag))
    proof.assume("rows_are_whole", ~sink.valid | (sink.last == (at + 1 == dim)))
    proof.assume("row_keeps_its_end", ~sink.valid | (at == 0) | ((sink.end == end) & (sink.tag == tag)))

    filled, tokens = Signal(max=lanes + 1), Signal(max=lanes + 1)
    closes = Signal()
    order = Order(2, 2 * lanes, 1, lanes)
    words = Ledger(1, 1)
    proof.comb += [
        closes.eq((filled == lanes - 1) | (sink.last & sink.end)),
        order.put.eq(moved(sink)),
        order.entering[0].eq(Cat(sink.elements, sink.last & sink.end)),
        order.get.eq(Mux(moved(source), tokens, 0)),
        words.put.eq(moved(sink) & closes),
        words.item.eq(sink.tag),
        words.get.eq(moved(source)),
    ]
    proof.sync += If(moved(sink), filled.eq(Mux(closes, 0, filled + 1)), tokens.eq(filled + 1))
    for lane in range(lanes):
        element = source.elements[lane]
        proof.comb += order.leaving[lane].eq(Cat(element, source.last & (lane + 1 == tokens)))
        proof.check(f"rest_is_zero{lane}", ~source.valid | (lane < tokens) | ~element)
    proof.add("order", order)
    proof.add("words", words)
    keys = Signal(max=lanes + 1)
    proof.comb += [
        keys.eq(1),
        If(dim == 2, keys.eq(tokens[1:])).Elif(dim == 1, keys.eq(tokens)),
    ]
    proof.check("count", ~source.valid | (source.count == keys))
    proof.check("tag", ~source.valid | (source.tag == words.oldest))
    proof.add("progress", Progress(1, words.any, moved(source), source.ready))
    proof.add("accepts", Progress(1, sink.valid, moved(sink), source.ready))
    return proof


def scores(broken: str | None = None) -> Proof:
    """Scores of 1 bit, words of four, coming one, two or four at a time."""
    lanes = 4
    dut = LanePack(Tiny({}, keys_a_word=lanes, score_bits=1), 2)
    proof = Proof(dut, broken)
    sink, source = proof.sink("sink", dut.sink), proof.source("source", dut.source)
    keys = proof.constant("keys", Signal(3))
    proof.comb += dut.keys.eq(keys)
    proof.assume("keys", (keys == 1) | (keys == 2) | (keys == 4))
    proof.assume(
        "words_are_full",
        ~sink.valid | ((sink.count != 0) & (sink.count <= keys) & (sink.last | (sink.count == keys))),
    )
    open_, row = Signal(), Signal(2)  # within a pass: its row
    proof.sync += If(moved(sink), open_.eq(~sink.last), row.eq(Cat(sink.slot, sink.add)))
    proof.assume("pass_keeps_its_row", ~sink.valid | ~open_ | (Cat(sink.slot, sink.add) == row))
    order = Order(4, 2 * lanes, lanes, lanes)
    proof.comb += [
        order.put.eq(Mux(moved(sink), sink.count, 0)),
        order.get.eq(Mux(moved(source), source.count, 0)),
    ]
    for stream, items in ((sink, order.entering), (source, order.leaving)):
        for lane, item in enumerate(items):
            final = stream.last & (stream.count == lane + 1)
            proof.comb += item.eq(Cat(stream.scores[lane], stream.slot, stream.add, final))
    proof.add("order", order)
    proof.check("full_but_the_last", ~source.valid | source.last | (source.count == lanes))
    proof.check("none_empty", ~source.valid | (source.count != 0))
    proof.add("progress", Progress(1, source.valid, moved(source), source.ready))
    proof.add("accepts", Progress(1, sink.valid, moved(sink), source.ready))
    # A word leaves as soon as it is full or its pass is over: no more than an open word stays behind.
    proof.check("none_left_behind", source.valid | ((order.inside < lanes) & (open_ | (order.inside == 0))))
    return proof


CASES = {
    "pack": Case(
        "Pack",
        "4 lanes, keys of 1, 2, 4 or 8 elements",
        "elements leave in order, none lost, none twice, at the lane of their place, other lanes 0; each word"
        " with the number of its keys and the tag of its last; a pass ends its last word; what is offered"
        " stays; a segment a cycle while words are taken",
        segments,
    ),
    "lane pack": Case(
        "LanePack",
        "4 lanes, 1, 2 or 4 scores a word",
        "scores leave in order with their row, none lost, none twice; all words but a pass's last are full;"
        " a word leaves once it is full or its pass is over; what is offered stays",
        scores,
    ),
}
