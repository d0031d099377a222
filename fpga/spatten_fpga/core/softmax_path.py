# SPDX-License-Identifier: BSD-2-Clause
"""From scores to ranked weights: exponentials, their sum, and the local top-k of rows that are certain."""

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from .fork import Fork
from .geometry import MULT_BITS, SHIFT_BITS, WEIGHT_BITS
from .picks import KeyPick, PlaceScores
from .scores import ScoreBuffer
from .topk import TopK
from .weight import WeightUnit
from .weight_buffer import WeightBuffer

UNDER_WAY = 64  # picked keys from the fetch of their LSBs to their scores: no memory here owes as many beats


class SoftmaxPath(LiteXModule):
    """Weights and sum of each pass, in the order in which passes end; ranked rows in the order of ``read``.

    Whether a row is certain is decided outside, between ``summed`` and ``read``; a row that is not gets
    another pass of scores, and another sum. ``by_key`` that is a pass over the keys that were picked here.

    Parameters
    ----------
    geometry : sizes of the core.
    slots : rows in flight.

    Attributes
    ----------
    mults, shifts : in, the score multiplier and shift of the row in each slot.
    value_limit : in, weights from it on are counted in ``summed``; stable during a job.
    by_key, refetch_shift : in, mode and share, see :class:`.picks.KeyPick`; stable during a job.
    sink : in, :func:`.scores.scores_layout`.
    summed : out, :func:`.picks.picked_layout`.
    picks : out, :func:`.fetch.index_layout`: places in the key list of the keys to refetch, row by row.
    read : in, ``slot``, ``keys``, ``k``: rank that row.
    ranked : out, the top-k engine's masked beats.

    Source: paper, sections IV-D and IV-B; contract, section 4 and section 5, step 1.
    """

    def __init__(self, geometry, slots):
        config = geometry.config
        self.mults = [Signal(MULT_BITS, reset_less=True) for _ in range(slots)]
        self.shifts = [Signal(SHIFT_BITS, reset_less=True) for _ in range(slots)]
        self.scores = ScoreBuffer(geometry, slots)
        self.exps = WeightUnit(geometry.keys_a_word, geometry.distance_bits)
        self.buffer = WeightBuffer(geometry, slots)
        self.value_limit = self.buffer.limit
        self.pick = KeyPick(geometry, slots)
        self.place = PlaceScores(geometry, slots)
        self.topk = TopK(config.topk_parallelism, WEIGHT_BITS, config.max_sequence)
        self.by_key, self.refetch_shift = Signal(), self.pick.shift
        self.sink, self.summed = self.place.sink, self.pick.source
        self.read = stream.Endpoint(self.buffer.read.description)
        self.ranked = self.topk.source

        # # #

        self._weigh(slots)
        self._pick(config)
        self._read()

    # From scores to weights --------------------------------------------------------------------------

    def _weigh(self, slots):
        """A row whose scores are complete is replayed; its weights go to the same slot."""
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

        distances = self.scores.source
        self.comb += [
            distances.connect(self.exps.sink, omit={"slot"}),
            self.exps.sink.mult.eq(Array(self.mults)[distances.slot]),
            self.exps.sink.shift.eq(Array(self.shifts)[distances.slot]),
            self.exps.source.connect(self.buffer.sink),
        ]

    # Refetch by key ----------------------------------------------------------------------------------

    def _pick(self, config):
        """Places of picked keys wait for the fetch of their LSBs, and from then on for the scores of these.

        A row's keys may all be picked before any is fetched; few of them are under way at a time.
        """
        layout = self.pick.index.description
        self.fetches = fetches = stream.SyncFIFO(layout, config.max_sequence, buffered=True)
        self.fetched = fetched = Fork(layout, 2)
        self.places = places = stream.SyncFIFO(layout, UNDER_WAY)
        self.picks, placed = fetched.sources
        self.comb += [
            self.place.by_key.eq(self.by_key),
            self.pick.by_key.eq(self.by_key),
            self.place.source.connect(self.scores.sink),
            self.buffer.summed.connect(self.pick.sink),
            self.pick.index.connect(fetches.sink),
            fetches.source.connect(fetched.sink),
            placed.connect(places.sink),
            places.source.connect(self.place.index),
        ]

    # Reading of weights ------------------------------------------------------------------------------

    def _read(self):
        """Picks and the top-k engine share the read port, a row at a time.

        With ``by_key`` a row to rank is read when the engine takes it at once, so a pick never waits for what
        is behind the engine. It is a row of which no weight is kept.
        """
        read, wanted, found, rank = self.buffer.read, self.pick.read, self.buffer.source, self.topk.sink
        self.reads = reads = FSM(reset_state="CHOOSE")
        reads.act(
            "CHOOSE",
            If(~self.by_key, self.read.connect(read))
            .Elif(wanted.valid, NextState("PICK"))
            .Elif(self.read.valid & rank.ready & ~found.valid, NextState("RANK")),
        )
        reads.act("PICK", wanted.connect(read), read.k.eq(0), If(read.ready, NextState("CHOOSE")))
        reads.act("RANK", self.read.connect(read), If(read.ready, NextState("CHOOSE")))
        self.comb += If(found.k != 0, found.connect(rank)).Else(found.connect(self.pick.beats))
