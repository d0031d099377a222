# SPDX-License-Identifier: BSD-2-Clause
"""Proofs of units that pass tokens on, one for one: queues, forks, pipelines."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from litex.gen import LiteXModule
from litex.soc.interconnect import stream
from litex.soc.interconnect.stream import Endpoint
from migen import Cat, Signal

from spatten_fpga.core.fetch import KeyLookup
from spatten_fpga.core.fork import Fork
from spatten_fpga.core.normalise import Normalise
from spatten_fpga.core.reciprocal import Reciprocal
from spatten_fpga.core.skid import Skid
from spatten_fpga.core.weight import WeightUnit
from spatten_fpga.formal.proof import Proof
from spatten_fpga.formal.rules import Ledger, Order, Progress, fields_of
from spatten_fpga.formal.sby import BMC

from .cases import Case, Tiny


def moved(endpoint: Endpoint):
    """A token passes in this cycle."""
    return endpoint.valid & endpoint.ready


def passes(
    proof: Proof, name: str, sink: Endpoint, source: Endpoint, capacity: int, fields: list[str] | None = None
) -> Order:
    """Tokens pass one for one, with the same content in ``fields``."""
    entering, leaving = fields_of(sink, fields), fields_of(source, fields)
    order = Order(sum(map(len, entering.values())), capacity)
    proof.comb += [
        order.put.eq(moved(sink)),
        order.get.eq(moved(source)),
        order.entering[0].eq(Cat(*entering.values())),
        order.leaving[0].eq(Cat(*leaving.values())),
    ]
    proof.add(name, order)
    return order


def queue(depth: int):
    def build(broken: str | None = None) -> Proof:
        dut = stream.SyncFIFO([("data", 2)], depth)
        proof = Proof(dut, broken)
        sink, source = proof.sink("sink", dut.sink), proof.source("source", dut.source)
        order = passes(proof, "order", sink, source, depth)
        proof.add("progress", Progress(2, order.inside != 0, moved(source), source.ready))
        proof.check("accepts", sink.ready | (order.inside == depth))
        return proof

    return build


def register(make: Callable[[list[tuple[str, int]]], LiteXModule], places: int = 1):
    def build(broken: str | None = None) -> Proof:
        dut = make([("data", 2)])
        proof = Proof(dut, broken)
        sink, source = proof.sink("sink", dut.sink), proof.source("source", dut.source)
        order = passes(proof, "order", sink, source, places)
        proof.add("progress", Progress(2, order.inside != 0, moved(source), source.ready))
        return proof

    return build


def fork(branches: int):
    def build(broken: str | None = None) -> Proof:
        dut = Fork([("data", 2)], branches)
        proof = Proof(dut, broken)
        sink = proof.sink("sink", dut.sink)
        taken = []
        for number, branch in enumerate(dut.sources):
            source = proof.source(f"source{number}", branch)
            # A token enters a branch when it is first on offer, and leaves the sink when all have it.
            order = Order(3, 1)
            begun = proof.past(sink.valid & ~sink.ready)
            proof.comb += [
                order.put.eq(sink.valid & ~begun),
                order.get.eq(moved(source)),
                order.entering[0].eq(Cat(sink.data, sink.last)),
                order.leaving[0].eq(Cat(source.data, source.last)),
            ]
            proof.add(f"order{number}", order)
            proof.check(f"all_have_it{number}", ~moved(sink) | (order.inside + order.put == order.get))
            taken.append(source.ready)
        proof.add("progress", Progress(1, sink.valid, moved(sink), Cat(*taken) == (1 << branches) - 1))
        return proof

    return build


def lookup(broken: str | None = None) -> Proof:
    """A list whose entries are arbitrary but fixed: entry ``i`` is ``i`` with a constant's bits turned."""
    geometry = Tiny({"max_sequence": 4}, index_bits=2)
    dut = KeyLookup(geometry)
    proof = Proof(dut, broken)
    sink = proof.sink("sink", dut.sink)
    source = proof.source("source", dut.source, ["slot", "last"])
    turned = proof.constant("turned", Signal(2))
    proof.comb += dut.list_word.eq(proof.past(dut.list_index) ^ turned)
    order = Order(3, 3)
    proof.comb += [
        order.put.eq(moved(sink)),
        order.get.eq(moved(source)),
        order.entering[0].eq(Cat(sink.index ^ turned, sink.last)),
        order.leaving[0].eq(Cat(source.slot[:2], source.last)),
    ]
    proof.add("order", order)
    proof.check("entry", ~source.valid | (source.slot[2:] == 0))
    proof.add("progress", Progress(3, order.inside != 0, moved(source), source.ready))
    return proof


def weights(broken: str | None = None) -> Proof:
    dut = WeightUnit(2, 19)
    proof = Proof(dut, broken)
    sink = proof.sink("sink", dut.sink)
    source = proof.source("source", dut.source)
    order = passes(proof, "order", sink, source, dut.LATENCY, ["count", "last"])
    proof.add("progress", Progress(dut.LATENCY + 1, order.inside != 0, moved(source), source.ready))
    return proof


def normalise(broken: str | None = None) -> Proof:
    dut = Normalise(1, 28)
    proof = Proof(dut, broken)
    sink = proof.sink("sink", dut.sink)
    source = proof.source("source", dut.source)
    order = passes(proof, "order", sink, source, 12, ["last"])
    proof.add("progress", Progress(13, order.inside != 0, moved(source), source.ready))
    return proof


def reciprocal(broken: str | None = None) -> Proof:
    dut = Reciprocal()
    proof = Proof(dut, broken)
    sink, source = proof.sink("sink", dut.sink), proof.source("source", dut.source)
    sums = Ledger(1, 1)
    proof.comb += [sums.put.eq(moved(sink)), sums.get.eq(moved(source))]
    proof.add("sums", sums)
    proof.check("none_invented", ~source.valid | sums.any)
    proof.check("last", ~source.valid | source.last)
    proof.add("progress", Progress(dut.LATENCY + 1, sums.any, moved(source), source.ready))
    proof.add("accepts", Progress(1, sink.valid & ~sums.any, moved(sink)))
    return proof


STREAM = "tokens leave as they came, in order, none lost, none twice; what is offered stays"
CASES = {
    "queue": Case("stream.SyncFIFO", "depth 4", STREAM + "; never more than 4 inside", queue(4), quick=True),
    "queue of two": Case("stream.SyncFIFO", "depth 2", STREAM, queue(2)),
    "valid register": Case("stream.Buffer", "valid cut", STREAM, register(stream.Buffer), quick=True),
    "ready register": Case("Skid", "ready cut", STREAM, register(Skid), quick=True),
    "both registers": Case(
        "stream.Buffer", "both cut", STREAM, register(partial(stream.Buffer, pipe_ready=True), 2)
    ),
    "fork": Case(
        "Fork",
        "2 branches",
        STREAM + "; every branch has it once, the sink moves when all do",
        fork(2),
        quick=True,
    ),
    "fork of three": Case("Fork", "3 branches", STREAM, fork(3)),
    "key lookup": Case("KeyLookup", "4 keys", STREAM + "; each is its entry of the list", lookup, quick=True),
    "weights": Case(
        "WeightUnit",
        "2 lanes, distances of 19 bits",
        STREAM + " (count and last)",
        weights,
        BMC,
        20,
        spared=("source:corrupts.weights",),
    ),
    "reciprocal": Case(
        "Reciprocal",
        "as it is",
        "one answer a sum, none lost, none twice, within 22 cycles; what is offered stays; a sum is taken at"
        " once when none is inside",
        reciprocal,
        spared=tuple(f"source:corrupts.{field}" for field in ("reciprocal", "z", "gain")),
        wrong_depth=50,
    ),
    "normalise": Case(
        "Normalise",
        "1 lane, 28 bits",
        STREAM + " (last)",
        normalise,
        BMC,
        20,
        spared=("source:corrupts.outputs", "source:corrupts.magnitude"),
    ),
}
