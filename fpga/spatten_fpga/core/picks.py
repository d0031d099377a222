# SPDX-License-Identifier: BSD-2-Clause
"""Refetch by key: which keys of a row are worth their LSBs, and where the scores of these belong."""

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from .fetch import index_layout
from .first_mark import first_mark
from .geometry import SUM_BITS, WEIGHT_BITS, Geometry
from .scores import placed_layout, scores_layout
from .topk_count import at_least
from .weight import shifted
from .weight_buffer import ranked_layout, summed_layout


def picked_layout(geometry: Geometry, slots: int) -> list:
    """A row whose weights are complete, and how many of its keys refetch: 0 for a row that is done."""
    return [*summed_layout(geometry, slots), ("picked", bits_for(geometry.config.max_sequence))]


class KeyPick(LiteXModule):
    """Picks the keys of a row whose weight is above a share of the row's sum.

    The first pass of a row comes with its sum S; its weights are read and compared with ``S >> shift``. A
    row's second pass comes with its sum again and goes by, as all rows do without ``by_key``.

    Without ``by_key`` a sum goes by in the same cycle. A pick takes 5 cycles and one for each beat of
    weights, or for each picked key where a beat has several.

    Parameters
    ----------
    geometry : sizes of the core.
    slots : rows in flight.

    Attributes
    ----------
    by_key, shift : in, mode, and -log2 of the share, 1 to 16; stable during a job.
    sink : in, :func:`.weight_buffer.summed_layout`; taken at once.
    read : out, ``slot`` and ``keys``: the row whose weights are wanted.
    beats : in, :func:`.weight_buffer.ranked_layout`: these weights.
    index : out, :func:`.fetch.index_layout`: places in the key list of the picked keys, in order, all before
        the row is told.
    source : out, :func:`picked_layout`, a token a pass.

    Source: contract, section 4, step 6.
    """

    def __init__(self, geometry, slots):
        keys = bits_for(geometry.config.max_sequence)
        self.by_key = Signal()
        self.shift = Signal(5)
        self.sink = stream.Endpoint(summed_layout(geometry, slots))
        self.read = stream.Endpoint([("slot", bits_for(slots - 1)), ("keys", keys)])
        self.beats = stream.Endpoint(ranked_layout(geometry))
        self.index = stream.Endpoint(index_layout(geometry))
        self.source = stream.Endpoint(picked_layout(geometry, slots))

        # # #

        self.sums = stream.SyncFIFO(self.sink.description, slots)
        self.limit = Signal(WEIGHT_BITS, reset_less=True)
        self.picked = Signal(keys, reset_less=True)
        self._share()
        self._compare(geometry)
        self._sequence(slots)

    # Share of the sum --------------------------------------------------------------------------------

    def _share(self):
        """``limit``, 3 cycles after a sum is at the head of the queue; no weight is above its greatest."""
        total, shift = self.sums.source.sum, self.shift
        coarse, fine = (Signal(SUM_BITS, reset_less=True) for _ in range(2))
        self.sync += [
            coarse.eq(Mux(shift[4], total >> 16, shifted(total, shift[2:4], 4))),
            fine.eq(shifted(coarse, shift[:2], 1)),
            self.limit.eq(fine[:WEIGHT_BITS] | Replicate(fine[WEIGHT_BITS:] != 0, WEIGHT_BITS)),
        ]

    # Weights above it --------------------------------------------------------------------------------

    def _compare(self, geometry):
        """A beat's keys that are above, then their places, the first of what is left in each cycle."""
        parallel = geometry.config.topk_parallelism
        beats, index = self.beats, self.index
        tail = (beats.n - 1)[: log2_int(parallel)]  # last lane of the row's last beat that holds a key
        above = Signal(parallel, reset_less=True)
        first, lane = first_mark(self, above)
        beat = Signal(geometry.index_bits, reset_less=True)
        busy, found, only = Signal(), Signal(), Signal()
        fresh = Signal(reset=1)  # the next beat is a row's first
        self.swept = Signal()  # nothing of the row is left, not even a beat on its way
        last_beat = Signal(reset_less=True)
        self.comb += [
            found.eq(above != 0),
            only.eq(above == first),
            index.valid.eq(busy & found),
            index.index.eq(Cat(lane, beat) if parallel > 1 else beat),
            beats.ready.eq(~busy | ~found | (only & index.ready)),
            self.swept.eq(busy & last_beat & beats.ready),
        ]
        higher = [
            (beats.values[i * WEIGHT_BITS : (i + 1) * WEIGHT_BITS] > self.limit)
            & (~beats.last | at_least(tail, i))
            for i in range(parallel)
        ]
        self.sync += [
            If(index.ready, above.eq(above & ~first)),
            If(index.valid & index.ready, self.picked.eq(self.picked + 1)),
            If(
                beats.ready,
                busy.eq(beats.valid),
                above.eq(Cat(*higher)),
                last_beat.eq(beats.last),
                If(beats.valid, fresh.eq(beats.last), beat.eq(Mux(fresh, 0, beat + 1))),
            ),
        ]

    # Sequence ----------------------------------------------------------------------------------------

    def _sequence(self, slots):
        sink, sums, read, source = self.sink, self.sums.source, self.read, self.source
        names = [name for name, *_ in sink.description.payload_layout]
        again = Signal(slots)  # rows that were told to refetch: their next pass is their second
        second = Array(again)[sums.slot]
        self.comb += [
            If(self.by_key, sink.connect(self.sums.sink)).Else(sink.connect(source)),
            If(self.by_key, *[getattr(source, name).eq(getattr(sums, name)) for name in names]),
            read.slot.eq(sums.slot),
            read.keys.eq(sums.keys),
        ]
        tell = [
            source.valid.eq(1),
            source.picked.eq(self.picked),
            sums.ready.eq(source.ready),
            If(
                source.ready,
                *[If(sums.slot == slot, NextValue(again[slot], self.picked != 0)) for slot in range(slots)],
                NextState("WAIT"),
            ),
        ]
        self.fsm = fsm = FSM(reset_state="WAIT")
        fsm.act(
            "WAIT",
            NextValue(self.picked, 0),
            If(sums.valid, If(second, NextState("TELL")).Else(NextState("SHIFT"))),
        )
        fsm.act("SHIFT", NextState("READ"))
        fsm.act("READ", read.valid.eq(1), If(read.ready, NextState("SWEEP")))
        fsm.act("SWEEP", If(self.swept, NextState("TELL")))
        fsm.act("TELL", *tell)


class PlaceScores(LiteXModule):
    """Gives each score of a second pass by key the place of its key in the row.

    A first pass, and all passes without ``by_key``, go by in the same cycle. Of a second pass comes one key a
    cycle, which is the most that memory gives.

    Parameters
    ----------
    geometry : sizes of the core.
    slots : rows in flight.

    Attributes
    ----------
    by_key : in, mode, stable during a job.
    sink : in, :func:`.scores.scores_layout`.
    index : in, :func:`.fetch.index_layout`: places of the keys of second passes, in their order.
    source : out, :func:`.scores.placed_layout`.

    Source: contract, section 4, step 6.
    """

    def __init__(self, geometry, slots):
        lanes, bits = geometry.keys_a_word, geometry.score_bits
        self.by_key = Signal()
        self.sink = sink = stream.Endpoint(scores_layout(geometry, slots))
        self.index = index = stream.Endpoint(index_layout(geometry))
        self.source = source = stream.Endpoint(placed_layout(geometry, slots))

        # # #

        lane, last = Signal(max=max(2, lanes)), Signal()
        score = Signal(bits)
        picks = {i: score.eq(sink.scores[i * bits : (i + 1) * bits]) for i in range(lanes)}
        self.comb += [
            sink.connect(source, omit={"valid", "ready", "last", "scores"}),
            last.eq(lane + 1 == sink.count),
            Case(lane, picks),
            source.placed.eq(self.by_key & sink.add),
            If(
                source.placed,
                source.place.eq(index.index),
                source.valid.eq(sink.valid & index.valid),
                source.last.eq(sink.last & last),
                source.scores.eq(Replicate(score, lanes)),
                index.ready.eq(sink.valid & source.ready),
                sink.ready.eq(index.valid & source.ready & last),
            ).Else(
                source.valid.eq(sink.valid),
                source.last.eq(sink.last),
                source.scores.eq(sink.scores),
                sink.ready.eq(source.ready),
            ),
        ]
        self.sync += If(source.placed & source.valid & source.ready, lane.eq(Mux(last, 0, lane + 1)))
