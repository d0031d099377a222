# SPDX-License-Identifier: BSD-2-Clause
"""Proof of the top-k engine: exactly k are kept, and none that is dropped goes before one that is kept."""

from __future__ import annotations

from migen import Cat, If, Mux, Signal

from spatten_fpga.core.topk import TopK
from spatten_fpga.formal.proof import Proof
from spatten_fpga.formal.rules import Ledger, Order, Progress
from spatten_fpga.formal.sby import BMC

from .cases import Case
from .streams import moved


def topk(parallelism: int, width: int, depth: int):
    """Sets of any size to ``depth``; any two places of a set are compared."""

    def build(broken: str | None = None) -> Proof:
        dut = TopK(parallelism, width, depth)
        proof = Proof(dut, broken)
        sink, source = proof.sink("sink", dut.sink), proof.source("source", dut.source)
        beats = depth // parallelism
        low = parallelism.bit_length() - 1
        came, n, k = Signal(max=beats), Signal(len(sink.n)), Signal(len(sink.k))
        closes = Signal()
        proof.comb += closes.eq((sink.n - 1)[low : len(sink.n)] == came)
        proof.sync += If(moved(sink), came.eq(Mux(sink.last, 0, came + 1)), n.eq(sink.n), k.eq(sink.k))
        proof.assume("n", ~sink.valid | ((sink.n != 0) & (sink.n <= depth)))
        proof.assume("k", ~sink.valid | ((sink.k != 0) & (sink.k <= sink.n)))
        proof.assume("sets_are_whole", ~sink.valid | (sink.last == closes))
        proof.assume("set_keeps_its_size", ~sink.valid | (came == 0) | ((sink.n == n) & (sink.k == k)))

        order = Order(len(sink.values) + 1, 4 * beats)
        proof.comb += [
            order.put.eq(moved(sink)),
            order.get.eq(moved(source)),
            order.entering[0].eq(Cat(sink.values, sink.last)),
            order.leaving[0].eq(Cat(source.values, source.last)),
        ]
        proof.add("order", order)

        sets = Ledger(len(n) + len(k), 4)
        size, wanted = Signal(len(n)), Signal(len(k))
        proof.comb += [
            sets.put.eq(moved(sink) & sink.last),
            sets.item.eq(Cat(sink.n, sink.k)),
            sets.get.eq(moved(source) & source.last),
            Cat(size, wanted).eq(sets.oldest),
        ]
        proof.add("sets", sets)
        given, kept, total = Signal(max=beats), Signal(len(k)), Signal(len(k))
        proof.comb += total.eq(kept + sum(source.keep[lane] for lane in range(parallelism)))
        proof.sync += If(
            moved(source), given.eq(Mux(source.last, 0, given + 1)), kept.eq(Mux(source.last, 0, total))
        )
        proof.check("keeps_k", ~source.valid | ~source.last | (total == wanted))

        # Two places of the set, the first before the second: their values, and if they are kept.
        places = [proof.constant(name, Signal(max=depth)) for name in ("one", "other")]
        proof.assume("places", places[0] < places[1])
        seen = []
        for place in places:
            value, keep = Signal(width), Signal()
            held_value, held_keep, here = Signal(width), Signal(), Signal()
            proof.comb += [here.eq(place[low:] == given), value.eq(held_value), keep.eq(held_keep)]
            for lane in range(parallelism):
                mine = here & ((place[:low] == lane) if low else 1)
                proof.comb += If(
                    mine,
                    value.eq(source.values[lane * width : (lane + 1) * width]),
                    keep.eq(source.keep[lane]),
                )
            proof.sync += If(moved(source), held_value.eq(value), held_keep.eq(keep))
            seen.append((value, keep))
        (first, keeps_first), (second, keeps_second) = seen
        both = source.valid & source.last & (places[1] < size)
        proof.check("earlier_of_equal_or_greater", ~both | keeps_first | ~keeps_second | (first < second))
        proof.check("greater", ~both | ~keeps_first | keeps_second | (first >= second))
        most = TopK.cycles(depth, parallelism, width, depth)
        proof.add("within", Progress(most, sets.any, moved(source), source.ready))
        return proof

    return build


CASES = {
    "top-k": Case(
        "TopK",
        "2 values a cycle, 5 bits (two digits), sets to 4",
        "exactly k are kept, none that is dropped goes before one that is kept (of equal ones the first go"
        " first); values leave as they came; what is offered stays; a beat within `cycles()` of the last",
        topk(2, 5, 4),
        BMC,
        26,
        wrong_depth=26,
        wrongs=("source:stops", "source:loses", "source:withdraws", "source:corrupts.keep"),
    ),
}
