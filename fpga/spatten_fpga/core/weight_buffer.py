# SPDX-License-Identifier: BSD-2-Clause
"""The softmax weights of the rows in flight, and their sum."""

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from .geometry import SUM_BITS, WEIGHT_BITS, Geometry
from .weight import weights_layout


def summed_layout(geometry: Geometry, slots: int) -> list:
    """A row whose weights are complete: how many, how many of them reach the limit, and their sum S."""
    keys = bits_for(geometry.config.max_sequence)
    return [("slot", bits_for(slots - 1)), ("keys", keys), ("above", keys), ("sum", SUM_BITS)]


def ranked_layout(geometry: Geometry) -> stream.EndpointDescription:
    """A beat of weights for the top-k engine."""
    keys = bits_for(geometry.config.max_sequence)
    return stream.EndpointDescription(
        [("values", geometry.config.topk_parallelism * WEIGHT_BITS)], [("n", keys), ("k", keys)]
    )


class WeightBuffer(LiteXModule):
    """Keeps the weights of ``slots`` rows until the row is certain, packed for the top-k engine.

    Words come in at the pace of the arrays, beats of ``topk_parallelism`` weights go out. A row that
    refetches is written a second time over the first.

    Parameters
    ----------
    geometry : sizes of the core.
    slots : rows in flight.

    Attributes
    ----------
    limit : in, stable while a row passes: weights from it on are counted as ``above``.
    row : in, ``slot``: where the next row's weights go; taken with the row's first word.
    sink : in, :func:`.weight.weights_layout`, one word a cycle; ``last`` ends a row.
    summed : out, :func:`summed_layout`, one for each row.
    read : in, ``slot``, ``keys`` and ``k``, the number of values to keep, 1 to ``keys``: gives that row to
        ``source``.
    source : out, :func:`ranked_layout`, one beat a cycle, the first after 1 cycle.

    Source: contract section 4, step 5, and section 5, step 1; paper section IV-D.
    """

    def __init__(self, geometry, slots=4):
        keys = bits_for(geometry.config.max_sequence)
        self.limit = Signal(WEIGHT_BITS)
        self.row = stream.Endpoint([("slot", bits_for(slots - 1))])
        self.sink = stream.Endpoint(weights_layout(geometry.keys_a_word))
        self.summed = stream.Endpoint(summed_layout(geometry, slots))
        self.read = stream.Endpoint([("slot", bits_for(slots - 1)), ("keys", keys), ("k", keys)])
        self.source = stream.Endpoint(ranked_layout(geometry))

        # # #

        parallel = geometry.config.topk_parallelism
        depth = -(-geometry.config.max_sequence // parallel)
        # All slots in one memory: one is written and one read at a time; a block RAM is deeper than a slot.
        memory = Memory(parallel * WEIGHT_BITS, slots << bits_for(depth - 1))
        self.write = memory.get_port(write_capable=True, mode=READ_FIRST)
        self.fetch = memory.get_port(has_re=True, mode=READ_FIRST)
        self.specials += memory, self.write, self.fetch
        self._store(geometry, depth, parallel)
        self._sum(geometry)
        self._read(depth, parallel)

    # Packing and storing -----------------------------------------------------------------------------

    def _store(self, geometry, depth, parallel):
        """Words fill a beat lane group by lane group; a full beat, or a row's last, is written."""
        width = geometry.keys_a_word * WEIGHT_BITS
        groups = parallel // geometry.keys_a_word
        sink, row = self.sink, self.row
        self.accept = accept = Signal()
        group, beat = Signal(max=max(2, groups)), Signal(max=max(2, depth))
        full = Signal()
        packed = Signal(parallel * WEIGHT_BITS, reset_less=True)
        pending = Signal()
        place, slot = (Signal.like(one, reset_less=True) for one in (beat, row.slot))
        self.busy = Signal()  # the end of a row was not taken yet
        self.comb += [
            accept.eq(sink.valid & sink.ready),
            sink.ready.eq(row.valid & ~self.busy),
            row.ready.eq(accept & sink.last),
            full.eq(sink.last | (group == groups - 1)),
        ]
        self.sync += [
            pending.eq(accept & full),
            If(
                accept,
                Case(group, {g: packed[g * width : (g + 1) * width].eq(sink.weights) for g in range(groups)}),
                group.eq(Mux(full, 0, group + 1)),
                place.eq(beat),
                slot.eq(row.slot),
                If(full, beat.eq(Mux(sink.last, 0, beat + 1))),
            ),
        ]
        self.comb += [
            self.write.adr.eq(Cat(place, slot)),
            self.write.dat_w.eq(packed),
            self.write.we.eq(pending),
        ]

    # Summing -----------------------------------------------------------------------------------------

    def _sum(self, geometry):
        """The lanes of a word in one register level for each halving, then running sums."""
        sink, summed, row = self.sink, self.summed, self.row
        weights = [
            sink.weights[lane * WEIGHT_BITS : (lane + 1) * WEIGHT_BITS]
            for lane in range(geometry.keys_a_word)
        ]
        above = [
            (weight >= self.limit) & (lane < sink.count if lane else 1) for lane, weight in enumerate(weights)
        ]
        token = Record([("valid", 1), ("last", 1), ("count", len(sink.count)), ("slot", len(row.slot))])
        self.comb += [
            token.valid.eq(self.accept),
            token.last.eq(sink.last),
            token.count.eq(sink.count),
            token.slot.eq(row.slot),
        ]
        while len(weights) > 1:
            later = Record(token.layout, reset_less=True)
            later.valid.reset_less = False
            self.sync += later.eq(token)
            weights, above = self._halved(weights, SUM_BITS), self._halved(above, len(sink.count))
            token = later
        parts = {"keys": token.count, "above": above[0], "sum": weights[0]}
        for name, part in parts.items():
            total, end = Signal.like(getattr(summed, name)), getattr(summed, name)
            self.sync += If(
                token.valid, total.eq(Mux(token.last, 0, total + part)), If(token.last, end.eq(total + part))
            )
        self.sync += [
            If(summed.valid & summed.ready, summed.valid.eq(0), self.busy.eq(0)),
            If(self.accept & sink.last, self.busy.eq(1)),
            If(token.valid & token.last, summed.valid.eq(1), summed.slot.eq(token.slot)),
        ]

    def _halved(self, level, bits):
        """Sums of pairs, registered; a word has a power of two of lanes."""
        following = [Signal(bits, reset_less=True) for _ in level[::2]]
        self.sync += [pair.eq(a + b) for pair, a, b in zip(following, level[::2], level[1::2], strict=True)]
        return following

    # Reading -----------------------------------------------------------------------------------------

    def _read(self, depth, parallel):
        read, source = self.read, self.source
        taken = Signal(max=depth * parallel + 1)  # keys of the beats before this one
        beat = Signal(max=max(2, depth))
        last, issue, move = Signal(), Signal(), Signal()
        self.comb += [
            move.eq(~source.valid | source.ready),
            last.eq(taken + parallel >= read.keys),
            issue.eq(read.valid & move),
            read.ready.eq(issue & last),
            source.values.eq(self.fetch.dat_r),
            self.fetch.adr.eq(Cat(beat, read.slot)),
            self.fetch.re.eq(move),
        ]
        self.sync += If(
            move,
            source.valid.eq(issue),
            source.last.eq(last),
            source.n.eq(read.keys),
            source.k.eq(read.k),
            If(
                issue,
                taken.eq(Mux(last, 0, taken + parallel)),
                beat.eq(Mux(last, 0, beat + 1)),
            ),
        )
