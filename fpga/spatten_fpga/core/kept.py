# SPDX-License-Identifier: BSD-2-Clause
"""From the top-k engine's masked beats to what the probability x V array takes: words of weights.

Two ways, as V is on chip or streamed (contract section 8): with V on chip a word's weights stand where its
keys stand, 0 where a value was dropped; with V streamed only the kept ones come, close together.
"""

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from .first_mark import first_mark
from .geometry import WEIGHT_BITS
from .topk_emit import kept_layout
from .weight import weights_layout


def _steps(lanes: int) -> list[int]:
    """Keys of a word that occur: the powers of two up to the lanes."""
    return [1 << power for power in range(lanes.bit_length())]


class AlignedWeights(LiteXModule):
    """Cuts beats into words of ``keys`` weights each, those of dropped values as 0.

    Parameters
    ----------
    geometry : sizes of the core.
    masked : zero what is not kept; without it every weight passes, as token importance needs them.

    Attributes
    ----------
    keys : in, keys of a word, a power of two; stable while a row passes.
    row : in, ``n``: keys of the next row; taken with its first beat.
    sink : in, :func:`.topk_emit.kept_layout`, ``last`` on the row's last beat.
    source : out, :func:`.weight.weights_layout`, one word a cycle without gaps; ``last`` on a row's last.

    Source: contract section 5, step 1; paper section III-C (local value pruning).
    """

    def __init__(self, geometry, masked=True):
        parallel, lanes = geometry.config.topk_parallelism, geometry.keys_a_word
        self.keys = Signal(max=lanes + 1)
        self.row = row = stream.Endpoint([("n", bits_for(geometry.config.max_sequence))])
        self.sink = sink = stream.Endpoint(kept_layout(parallel, WEIGHT_BITS))
        self.source = source = stream.Endpoint(weights_layout(lanes))

        # # #

        beat = Signal(parallel * WEIGHT_BITS, reset_less=True)
        shown = Signal(parallel * WEIGHT_BITS)
        # Keys of the row that are not out yet, keys of the beat that are: both come with what they count.
        left = Signal(max=geometry.config.max_sequence + 1, reset_less=True)
        place = Signal(max=parallel + 1, reset_less=True)
        busy, done = Signal(), Signal()
        fresh = Signal(reset=1)  # the next beat is a row's first
        for lane in range(parallel):
            part = slice(lane * WEIGHT_BITS, (lane + 1) * WEIGHT_BITS)
            self.comb += shown[part].eq(
                sink.values[part] & Replicate(sink.keep[lane] | (not masked), WEIGHT_BITS)
            )
        self.comb += [
            source.valid.eq(busy),
            source.last.eq(left <= self.keys),
            source.count.eq(Mux(source.last, left, self.keys)),
            done.eq(source.last | (place + self.keys >= parallel)),
            sink.ready.eq((~busy | (source.ready & done)) & (row.valid | ~fresh)),
            row.ready.eq(sink.valid & sink.ready & fresh),
        ]
        for lane in range(lanes):
            part = slice(lane * WEIGHT_BITS, (lane + 1) * WEIGHT_BITS)
            self.comb += source.weights[part].eq(beat[part] & Replicate(lane < source.count, WEIGHT_BITS))
        self.sync += [
            If(
                source.valid & source.ready,
                left.eq(left - self.keys),
                place.eq(place + self.keys),
                Case(self.keys, {step: beat.eq(beat >> step * WEIGHT_BITS) for step in _steps(lanes)}),
                If(done, busy.eq(0)),
            ),
            If(
                sink.valid & sink.ready,
                beat.eq(shown),
                busy.eq(1),
                place.eq(0),
                fresh.eq(sink.last),
                If(fresh, left.eq(row.n)),
            ),
        ]


class CompactWeights(LiteXModule):
    """Picks the kept weights out of the beats, one a cycle, and packs ``keys`` of them into a word.

    Parameters
    ----------
    geometry : sizes of the core.

    Attributes
    ----------
    keys : in, keys of a word, a power of two; stable while a row passes.
    sink : in, :func:`.topk_emit.kept_layout`; a row keeps one weight at least.
    source : out, :func:`.weight.weights_layout`; ``last`` on a row's last word.
    index : out, ``index``: place in the key list of each kept key, in order, for the gather of V; ``last``
        on the row's last.

    A beat takes as many cycles as it keeps weights, at least one: the V rows that they stand for take longer.

    Source: contract section 5, step 1; paper section IV-E (V gather).
    """

    def __init__(self, geometry):
        parallel, lanes = geometry.config.topk_parallelism, geometry.keys_a_word
        self.keys = Signal(max=lanes + 1)
        self.sink = sink = stream.Endpoint(kept_layout(parallel, WEIGHT_BITS))
        self.source = stream.Endpoint(weights_layout(lanes))
        self.index = stream.Endpoint([("index", geometry.index_bits)])

        # # #

        # The first kept weight of what is left of the beat. A row's last one is known only at its end, so
        # each is held back until the next one, or the end, is seen.
        values, left = (Signal(n, reset_less=True) for n in (parallel * WEIGHT_BITS, parallel))
        busy, last_beat, fresh = Signal(), Signal(reset_less=True), Signal(reset=1)
        first, lane = first_mark(self, left)
        base = Signal(geometry.index_bits + 1, reset_less=True)
        weight = Signal(WEIGHT_BITS)
        self.comb += Case(
            lane, {i: weight.eq(values[i * WEIGHT_BITS : (i + 1) * WEIGHT_BITS]) for i in range(parallel)}
        )

        found, drop, only = Signal(), Signal(), Signal()
        self._held = held = Record([("weight", WEIGHT_BITS), ("index", geometry.index_bits)], reset_less=True)
        held_valid = Signal()
        put, put_last = Signal(), Signal()  # the held weight leaves in this cycle
        end = Signal()  # the row is over: what is held is its last
        room = Signal()  # both streams can take a token
        self.comb += [
            found.eq(busy & (left != 0)),
            only.eq(left == first),
            end.eq(busy & (left == 0) & last_beat),
            drop.eq(busy & (left == 0) & ~last_beat),
            put.eq(held_valid & room & (found | end)),
            put_last.eq(end),
            sink.ready.eq(~busy | drop | (put & end) | (found & only & ~last_beat & (put | ~held_valid))),
        ]
        self.sync += [
            If(
                found & (put | ~held_valid),
                held_valid.eq(1),
                held.weight.eq(weight),
                held.index.eq(base + lane),
                left.eq(left & ~first),
            ),
            If(put & end, held_valid.eq(0), busy.eq(0)),
            If(
                sink.valid & sink.ready,
                busy.eq(1),
                values.eq(sink.values),
                left.eq(sink.keep),
                last_beat.eq(sink.last),
                base.eq(Mux(fresh, 0, base + parallel)),
                fresh.eq(sink.last),
            ).Elif(sink.ready, busy.eq(0)),
        ]

        self._pack(geometry, put, put_last, room)

    def _pack(self, geometry, put, put_last, room):
        """Two registers of output: indices at once, weights when a word is full."""
        lanes, source, index, held = geometry.keys_a_word, self.source, self.index, self._held
        filled = Signal(max=lanes + 1)
        word = Signal(lanes * WEIGHT_BITS, reset_less=True)
        merged = Signal(lanes * WEIGHT_BITS)
        full = Signal()
        self.comb += [
            room.eq((~index.valid | index.ready) & (~source.valid | source.ready)),
            full.eq(put_last | (filled + 1 == self.keys)),
            merged.eq(Mux(filled == 0, 0, word)),
        ]
        placed = Signal(lanes * WEIGHT_BITS)
        self.comb += Case(filled, {i: placed.eq(held.weight << i * WEIGHT_BITS) for i in range(lanes)})
        self.sync += [
            If(index.ready, index.valid.eq(0)),
            If(source.ready, source.valid.eq(0)),
            If(
                put,
                index.valid.eq(1),
                index.index.eq(held.index),
                index.last.eq(put_last),
                word.eq(merged | placed),
                filled.eq(Mux(full, 0, filled + 1)),
                If(
                    full,
                    source.valid.eq(1),
                    source.weights.eq(merged | placed),
                    source.count.eq(filled + 1),
                    source.last.eq(put_last),
                ),
            ),
        ]
