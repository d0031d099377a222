# SPDX-License-Identifier: BSD-2-Clause
"""Proofs of what stands between the units and memory: arbiters, word reader, gather, write-back."""

from __future__ import annotations

from functools import reduce
from itertools import combinations
from operator import or_

from migen import Array, Cat, If, Mux, Signal

from spatten_fpga.core.checks import ROW_BITS
from spatten_fpga.core.gather import Gather
from spatten_fpga.core.port import ReadArbiter, WriteArbiter
from spatten_fpga.core.word_reader import WordReader
from spatten_fpga.core.writeback import WriteBack
from spatten_fpga.formal.proof import Proof
from spatten_fpga.formal.rules import Ledger, Order, Progress

from .cases import Case, Tiny
from .streams import STREAM, moved

#: Beats of 2 bits, 4 address bits.
PORT = Tiny({"beat_bytes": 1 << 28, "max_sequence": 4}, beat_bits=2, index_bits=2)


def one_of(proof: Proof, name: str, flags: list) -> None:
    """At most one of the flags is set."""
    pairs = [first & second for first, second in combinations(flags, 2)]
    proof.check(name, ~reduce(or_, pairs))


# Arbiters -----------------------------------------------------------------------------------------


def reads(clients: int, outstanding: int):
    """Memory answers, in order, only what it was asked for."""

    def build(broken: str | None = None) -> Proof:
        dut = ReadArbiter(PORT, clients, outstanding)
        proof = Proof(dut, broken)
        commands = [proof.sink(f"command{n}", c.command, ["address"]) for n, c in enumerate(dut.clients)]
        port = proof.source("port", dut.port.command, ["address"])
        data = proof.sink("data", dut.port.data, ["data"])
        taken = [proof.source(f"data{n}", c.data, ["data"]) for n, c in enumerate(dut.clients)]
        number = len(dut.tags.sink.client)
        owed = Signal(max=outstanding + 2)
        proof.sync += owed.eq(owed + moved(port) - moved(data))
        proof.assume("answers_commands", ~data.valid | (owed != 0))

        order = Order(number + len(port.address), 1)
        whose = Order(number, outstanding)
        asked = reduce(or_, map(moved, commands))
        proof.comb += [
            order.put.eq(asked),
            whose.put.eq(asked),
            order.get.eq(moved(port)),
            whose.get.eq(moved(data)),
            # The number of a command's client is not seen at the port: the address tells it there.
            order.leaving[0].eq(Cat(port.address[:number], port.address)),
            *(
                If(
                    moved(command),
                    order.entering[0].eq(Cat(proof.number(n, number), command.address)),
                    whose.entering[0].eq(n),
                )
                for n, command in enumerate(commands)
            ),
            *(If(moved(source), whose.leaving[0].eq(n)) for n, source in enumerate(taken)),
        ]
        for n, command in enumerate(commands):
            proof.assume(f"address_tells_client{n}", ~command.valid | (command.address[:number] == n))
        proof.add("commands", order)
        proof.add("data_finds_its_client", whose)
        one_of(proof, "one_command", [moved(command) for command in commands])
        one_of(proof, "one_client", [source.valid for source in taken])
        proof.check("data_moves_with_its_client", moved(data) == reduce(or_, map(moved, taken)))
        for n, source in enumerate(taken):
            proof.check(f"data_is_the_same{n}", ~source.valid | (source.data == data.data))
        takers = Cat(*(source.ready for source in taken)) == (1 << clients) - 1
        proof.add("data_flows", Progress(1, data.valid, moved(data), takers))
        free = port.ready & (whose.inside != outstanding)
        for n, command in enumerate(commands):
            before = reduce(or_, (other.valid for other in commands[:n]), 0)
            proof.add(f"served{n}", Progress(1, command.valid, moved(command), free & ~before if n else free))
        return proof

    return build


def writes(clients: int, longest: int):
    """Bursts of up to ``longest`` beats."""

    def build(broken: str | None = None) -> Proof:
        dut = WriteArbiter(PORT, clients)
        proof = Proof(dut, broken)
        sinks = [proof.sink(f"sink{n}", sink) for n, sink in enumerate(dut.sinks)]
        source = proof.source("source", dut.source)
        proof.input("pending", dut.port_pending)
        order = Order(len(source.address) + len(source.data) + 1, 2)
        owner, inside = Signal(max=max(2, clients)), Signal()
        proof.comb += [
            order.put.eq(reduce(or_, map(moved, sinks))),
            order.get.eq(moved(source)),
            order.leaving[0].eq(Cat(source.address, source.data, source.last)),
            *(
                If(moved(sink), order.entering[0].eq(Cat(sink.address, sink.data, sink.last)))
                for sink in sinks
            ),
        ]
        proof.add("order", order)
        one_of(proof, "one_sink", [moved(sink) for sink in sinks])
        flows = Signal()  # who began a burst goes on with it
        proof.comb += flows.eq(~inside | Array(sink.valid for sink in sinks)[owner])
        for n, sink in enumerate(sinks):
            proof.sync += If(moved(sink), owner.eq(n), inside.eq(~sink.last))
            proof.check(f"bursts_stay_together{n}", ~moved(sink) | ~inside | (owner == n))
            beats = Signal(max=longest + 1)
            proof.sync += If(moved(sink), beats.eq(Mux(sink.last, 0, beats + 1)))
            proof.assume(f"burst_is_short{n}", ~sink.valid | sink.last | (beats < longest - 1))
            mine = Signal()
            proof.comb += mine.eq(sink.valid & ~(inside & (owner == n)))
            wait = (clients - 1) * (longest + 1) + 2
            proof.add(f"fair{n}", Progress(wait, mine, moved(sink), source.ready & flows))
        proof.check("pending_while_inside", ~(source.valid | dut.port_pending) | dut.writes_pending)
        return proof

    return build


# Rows ---------------------------------------------------------------------------------------------


def gather(broken: str | None = None) -> Proof:
    """Rows of up to 3 beats; addresses wrap at the end of what an address can name."""
    dut = Gather(PORT, 2)
    proof = Proof(dut, broken)
    sink, source = proof.sink("sink", dut.sink), proof.source("source", dut.source)
    proof.assume("row_beats", ~sink.valid | ((sink.row_beats != 0) & (sink.row_beats <= 3)))
    row = Cat(sink.slot, sink.base, sink.row_beats, sink.tag, sink.last)
    rows = Ledger(len(row), 4)
    slot, base, row_beats, tag, last = (
        Signal.like(part) for part in (sink.slot, sink.base, sink.row_beats, sink.tag, sink.last)
    )
    beat, address, closes = Signal(ROW_BITS), Signal.like(source.address), Signal()
    proof.comb += [
        rows.put.eq(moved(sink)),
        rows.item.eq(row),
        rows.get.eq(moved(source) & source.last_beat),
        Cat(slot, base, row_beats, tag, last).eq(rows.oldest),
        address.eq(base + slot * row_beats + beat),
        closes.eq(beat + 1 == row_beats),
    ]
    proof.sync += If(moved(source), beat.eq(Mux(source.last_beat, 0, beat + 1)))
    proof.add("rows", rows)
    proof.check("asked_for", ~source.valid | rows.any)
    proof.check("address", ~source.valid | (source.address == address))
    proof.check("tag", ~source.valid | (source.tag == tag))
    proof.check("last_beat", ~source.valid | (source.last_beat == closes))
    proof.check("last", ~source.valid | (source.last == (last & closes)))
    proof.add("progress", Progress(4, rows.any, moved(source), source.ready))
    return proof


# Words --------------------------------------------------------------------------------------------


def words(beat: int, bits: int, most: int):
    """A memory whose beat at an address is known: each word says where it is."""

    def build(broken: str | None = None) -> Proof:
        geometry = Tiny({"beat_bytes": 1 << 28}, beat_bits=beat)
        dut = WordReader(geometry, bits, most)
        proof = Proof(dut, broken)
        proof.input("start", dut.start)
        proof.input("base", dut.base)
        proof.input("count", dut.count)
        command = proof.source("command", dut.port.command, ["address"])
        source = proof.source("source", dut.source)
        data = dut.port.data
        proof.input("data_valid", data.valid)
        asked = Ledger(len(command.address), 4)
        place, base, count, busy = (
            Signal(max=most + 1),
            Signal.like(dut.base),
            Signal.like(dut.count),
            Signal(),
        )
        proof.comb += [
            asked.put.eq(moved(command)),
            asked.item.eq(command.address),
            asked.get.eq(moved(data)),
        ]
        proof.add("asks_for_no_more_than_it_has_room_for", asked)
        parts, per_beat = max(1, bits // beat), max(1, beat // bits)
        address = asked.oldest
        size = bits - 1 if parts == 1 else beat
        # Several words a beat: each is its address and half. Several beats a word: each its address.
        for i in range(per_beat):
            value = Cat(proof.number(i, 1), address[:size]) if parts == 1 else address[:size]
            proof.comb += data.data[i * bits : i * bits + min(bits, beat)].eq(value)
        at = base + (place * parts if parts > 1 else place[(per_beat - 1).bit_length() :])
        beats = [Signal(len(base)) for _ in range(parts)]
        proof.comb += [beat_at.eq(at + i) for i, beat_at in enumerate(beats)]
        expected = Signal(bits)
        proof.comb += expected.eq(
            Cat(place[0] if per_beat > 1 else proof.number(0, 1), beats[0][:size])
            if parts == 1
            else Cat(*(beat_at[:size] for beat_at in beats))
        )
        ends = moved(source) & (place + 1 == count)
        proof.sync += [
            If(dut.start, busy.eq(1), base.eq(dut.base), count.eq(dut.count), place.eq(0)),
            If(moved(source), place.eq(place + 1)),
            If(ends, busy.eq(0)),
        ]
        proof.assume("memory_answers_commands", ~data.valid | asked.any)
        proof.assume("starts_after_the_last", ~dut.start | ~busy)
        proof.assume("count", (dut.count != 0) & (dut.count <= most))
        proof.check("data_never_waits", ~data.valid | data.ready)
        proof.check("words", ~source.valid | (busy & (source.data == expected)))
        proof.check("last", ~source.valid | (source.last == (place + 1 == count)))
        proof.check("asks_for_no_more", busy | ~command.valid)
        helped = command.ready & source.ready & (data.valid | ~asked.any)
        proof.add("progress", Progress(7 + parts, busy, moved(source), helped))
        return proof

    return build


def write_back(beat: int, bits: int, elements: int):
    """Rows of up to 4 beats."""

    def build(broken: str | None = None) -> Proof:
        geometry = Tiny({"beat_bytes": 1 << 28}, beat_bits=beat)
        dut = WriteBack(geometry, bits, elements)
        proof = Proof(dut, broken)
        sink = proof.sink("sink", dut.sink)
        source = proof.source("source", dut.source)
        proof.input("start", dut.start)
        proof.input("base", dut.base)
        wide = bits * elements
        per_beat, parts = max(1, beat // wide), max(1, wide // beat)
        piece = min(wide, beat)
        filled = Signal(max=per_beat + 1)  # tokens in the beat that is put together
        order = Order(piece + 1, per_beat + parts, parts, per_beat)
        tokens = Signal(max=per_beat + 1)  # of the beat at the source
        closed = sink.last | (filled == per_beat - 1)
        proof.sync += If(moved(sink), filled.eq(Mux(closed, 0, filled + 1)), tokens.eq(filled + 1))
        size = Signal(max=per_beat + 1)
        proof.comb += [
            size.eq(tokens if parts == 1 else 1),
            order.put.eq(Mux(moved(sink), parts, 0)),
            order.get.eq(Mux(moved(source), size, 0)),
        ]
        for i in range(parts):
            final = sink.last & (i == parts - 1)
            proof.comb += order.entering[i].eq(Cat(sink.data[i * piece : (i + 1) * piece], final))
        for i in range(per_beat):
            part = source.data[i * piece : (i + 1) * piece]
            proof.comb += order.leaving[i].eq(Cat(part, source.last & (i + 1 == size)))
            proof.check(f"rest_is_zero{i}", ~source.valid | (i < size) | (part == 0))
        proof.add("order", order)
        address = Signal.like(dut.base)
        proof.sync += If(dut.start, address.eq(dut.base)).Elif(moved(source), address.eq(address + 1))
        proof.assume("starts_when_idle", ~dut.start | ~(dut.busy | sink.valid))
        proof.check("address", ~source.valid | (source.address == address))
        proof.check("busy_while_inside", (order.inside == 0) | dut.busy)
        proof.add(
            "progress", Progress(2, source.valid | (sink.valid & ~sink.ready), moved(source), source.ready)
        )
        return proof

    return build


CASES = {
    "read arbiter": Case(
        "ReadArbiter",
        "2 clients, 5 outstanding",
        "commands pass in order, one a cycle; data finds the client that asked; never more than 5 are"
        " outstanding; the first client is served at once, another when none before it asks",
        reads(2, 5),
        quick=True,
    ),
    "read arbiter of four": Case("ReadArbiter", "4 clients, 5 outstanding", "the same", reads(4, 5)),
    "write arbiter": Case(
        "WriteArbiter",
        "2 clients, bursts to 2 beats",
        "beats pass in order, bursts stay together, every client's turn comes within 5 cycles of taken beats;"
        " pending while a beat is inside",
        writes(2, 2),
        quick=True,
    ),
    "write arbiter of four": Case(
        "WriteArbiter", "4 clients, bursts to 2 beats", "the same, 11 cycles", writes(4, 2)
    ),
    "gather": Case(
        "Gather",
        "4 slots, 4 address bits, rows to 3 beats",
        "exactly the beats of the rows asked for, in order, each at its address and with its row's tag; the"
        " ends of rows and of the list are marked; what is offered stays; a beat within 4 cycles",
        gather,
    ),
    "word reader": Case(
        "WordReader",
        "2 words a beat, regions to 4 words",
        "exactly the words of the region, in order, last marked; data never waits; no beat is asked for"
        " without room or need; a word within 8 cycles of help",
        words(8, 4, 4),
        wrongs=None,
    ),
    "word reader, narrow": Case(
        "WordReader", "2 beats a word, regions to 3 words", "the same", words(2, 4, 3)
    ),
    "write-back": Case(
        "WriteBack",
        "2 tokens a beat",
        STREAM + "; rows are padded with zeros to a beat, addresses count, busy while anything is inside",
        write_back(4, 2, 1),
        quick=True,
    ),
    "write-back, wide": Case("WriteBack", "2 beats a token", "the same", write_back(2, 2, 2)),
}
