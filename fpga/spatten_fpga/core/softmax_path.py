# SPDX-License-Identifier: BSD-2-Clause
"""From scores to ranked weights: exponentials, their sum, and the local top-k of rows that are certain."""

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from .geometry import MULT_BITS, SHIFT_BITS, WEIGHT_BITS
from .scores import ScoreBuffer
from .topk import TopK
from .weight import WeightUnit
from .weight_buffer import WeightBuffer


class SoftmaxPath(LiteXModule):
    """Weights and sum of each pass, in the order in which passes end; ranked rows in the order of ``read``.

    Whether a row is certain is decided outside, between ``summed`` and ``read``; a row that is not gets
    another pass of scores, and another sum.

    Parameters
    ----------
    geometry : sizes of the core.
    slots : rows in flight.

    Attributes
    ----------
    mults, shifts : in, the score multiplier and shift of the row in each slot.
    value_limit : in, weights from it on are counted in ``summed``; stable during a job.
    sink : in, :func:`.scores.scores_layout`.
    summed : out, :func:`.weight_buffer.summed_layout`.
    read : in, ``slot``, ``keys``, ``k``: rank that row.
    ranked : out, the top-k engine's masked beats.

    Source: paper, sections IV-D and IV-B; contract, section 4 and section 5, step 1.
    """

    def __init__(self, geometry, slots):
        config = geometry.config
        self.mults = [Signal(MULT_BITS) for _ in range(slots)]
        self.shifts = [Signal(SHIFT_BITS) for _ in range(slots)]
        self.value_limit = Signal(WEIGHT_BITS)
        self.scores = ScoreBuffer(geometry, slots)
        self.exps = WeightUnit(geometry.keys_a_word, geometry.distance_bits)
        self.buffer = WeightBuffer(geometry, slots)
        self.topk = TopK(config.topk_parallelism, WEIGHT_BITS, config.max_sequence)
        self.sink, self.summed, self.read = self.scores.sink, self.buffer.summed, self.buffer.read
        self.ranked = self.topk.source

        # # #

        # A row whose scores are complete is replayed; its weights go to the same slot -----------------
        self.rows = rows = stream.SyncFIFO(self.buffer.row.description, slots)
        self.ends = ends = stream.SyncFIFO(self.scores.finished.description, slots)
        replay = self.scores.replay
        named = Signal()  # the row at the head of `ends` stands in `rows` already
        self.comb += [
            self.scores.finished.connect(ends.sink),
            ends.source.connect(replay, omit={"valid", "ready"}),
            replay.valid.eq(ends.source.valid & (named | rows.sink.ready)),
            ends.source.ready.eq(replay.valid & replay.ready),
            rows.sink.valid.eq(ends.source.valid & ~named),
            rows.sink.slot.eq(ends.source.slot),
            rows.source.connect(self.buffer.row),
        ]
        self.sync += If(ends.source.valid & ends.source.ready, named.eq(0)).Elif(
            rows.sink.valid & rows.sink.ready, named.eq(1)
        )

        # Weights -------------------------------------------------------------------------------------
        distances = self.scores.source
        self.comb += [
            distances.connect(self.exps.sink, omit={"slot"}),
            self.exps.sink.mult.eq(Array(self.mults)[distances.slot]),
            self.exps.sink.shift.eq(Array(self.shifts)[distances.slot]),
            self.exps.source.connect(self.buffer.sink),
            self.buffer.source.connect(self.topk.sink),
            self.buffer.limit.eq(self.value_limit),
        ]
