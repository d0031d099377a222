# SPDX-License-Identifier: BSD-2-Clause
"""From ranked weights to outputs and token importance: the V buffer and the probability x V array."""

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from .fork import Fork
from .geometry import SUM_BITS, WEIGHT_BITS, Geometry
from .kept import AlignedWeights, CompactWeights
from .normalise import FO_BITS, Normalise
from .operand_buffer import OperandBuffer, fill_layout, read_layout
from .pv_array import PVArray
from .reciprocal import Reciprocal
from .replay import Replay
from .skid import Skid
from .token_importance import TokenSums
from .topk_emit import kept_layout

MIDPOINT = 8  # half of what the LSB plane spans
ROWS_AHEAD = 4  # rows whose orders may wait


def value_pass_layout(geometry: Geometry) -> list:
    """A row that is certain.

    ``n``, its keys; ``sum``; what to read from the V buffer, as :func:`.operand_buffer.read_layout` does; and
    for V from memory, ``passes``: how many planes of it come.
    """
    return [
        ("n", bits_for(geometry.config.max_sequence)),
        ("sum", SUM_BITS),
        ("passes", 2),
        *read_layout(geometry, geometry.buffer_words).payload_layout,
    ]


class ValuePath(LiteXModule):
    """Outputs of one row after another, in the order of ``passes``, which is that of the ranked rows.

    Parameters
    ----------
    geometry : sizes of the core.

    Attributes
    ----------
    dim, keys, reuse, fo : in, head dimension, keys of a word at it, mode, exponent of the output; all stable
        during a job.
    passes : in, :func:`value_pass_layout`, in the order of the rows on ``ranked``.
    ranked : in, masked beats of weights.
    fill : in, :func:`.operand_buffer.fill_layout`: words of values from memory.
    index : out, places in the key list of the values to fetch, without ``reuse``.
    outputs : out, :func:`.normalise.outputs_layout`, ``last`` on a row's last.
    totals : the :class:`.token_importance.TokenSums`.
    added : out, pulse: a row's importance is on its way.
    busy, starved : out, the array takes a word in this cycle; it has weights, and no values for them.

    Source: paper, sections IV-E and IV-F; contract, sections 5 and 6.
    """

    def __init__(self, geometry):
        parallel = geometry.config.topk_parallelism
        self.dim = Signal(8)
        self.keys = Signal(max=geometry.keys_a_word + 1)
        self.reuse = Signal()
        self.fo = Signal(FO_BITS)
        self.passes = stream.Endpoint(value_pass_layout(geometry))
        self.ranked = stream.Endpoint(kept_layout(parallel, WEIGHT_BITS))
        self.fill = stream.Endpoint(fill_layout(geometry, geometry.buffer_words))
        self.index = stream.Endpoint([("index", geometry.index_bits)])
        self.added = Signal()
        self.busy = Signal()
        self.starved = Signal()
        self.buffer = OperandBuffer(geometry, geometry.buffer_words, MIDPOINT)
        self.array = PVArray(geometry)
        self.scale = Normalise(geometry.outputs, geometry.accumulator_bits)
        self.totals = TokenSums(geometry.keys_a_word, geometry.config.max_sequence)
        # Skid registers end two long chains of ready: from memory to the array, from the array to top-k.
        self.beats_skid = beats_skid = Skid(self.ranked.description)
        self.outputs_skid = outputs_skid = Skid(self.scale.source.description)
        self.outputs = outputs_skid.source

        # # #

        # Importance and values take the same beats, each at its own pace.
        self.beats = beats = Fork(kept_layout(parallel, WEIGHT_BITS), 2)
        self.comb += [
            self.ranked.connect(beats_skid.sink),
            beats_skid.source.connect(beats.sink),
            self.scale.source.connect(outputs_skid.sink),
        ]
        self._orders(geometry)
        self._reciprocal()
        self._importance(geometry, beats.sources[0])
        self._values(geometry, beats.sources[1])
        self._outputs()

    # Orders ------------------------------------------------------------------------------------------

    def _orders(self, geometry):
        """A row is orders to the divider and the V buffer, and lengths for its weights."""
        passes = self.passes
        layouts = {
            "sums": [("sum", SUM_BITS)],
            "reads": self.buffer.read.description,
            "gained": [("n", len(passes.n))],
            "aligned_rows": [("n", len(passes.n))],
            "word_passes": [("passes", 2)],
            "index_passes": [("passes", 2)],
        }
        wanted = {
            "reads": self.reuse,
            "aligned_rows": self.reuse,
            "word_passes": ~self.reuse,
            "index_passes": ~self.reuse,
        }
        fifos = {name: stream.SyncFIFO(layout, ROWS_AHEAD) for name, layout in layouts.items()}
        ready = Signal()
        blocked = [~fifo.sink.ready & wanted.get(name, 1) for name, fifo in fifos.items()]
        self.comb += [ready.eq(Cat(*blocked) == 0), passes.ready.eq(ready)]
        for name, fifo in fifos.items():
            self.add_module(f"order_{name}", fifo)
            self.comb += fifo.sink.valid.eq(passes.valid & ready & wanted.get(name, 1))
            for field, *_ in fifo.sink.description.payload_layout:
                self.comb += getattr(fifo.sink, field).eq(getattr(passes, field))
        self.orders = {name: fifo.source for name, fifo in fifos.items()}

    # Reciprocal --------------------------------------------------------------------------------------

    def _reciprocal(self):
        """One division a row; importance and outputs use it at different times, so each has its own queue."""
        self.divider = divider = Reciprocal()
        layout = divider.source.description
        self.for_gains = stream.SyncFIFO(layout, ROWS_AHEAD)
        self.for_outputs = stream.SyncFIFO(layout, ROWS_AHEAD)
        self.divided = divided = Fork(layout, 2)
        self.comb += [
            self.orders["sums"].connect(divider.sink),
            divider.source.connect(divided.sink),
            divided.sources[0].connect(self.for_gains.sink),
            divided.sources[1].connect(self.for_outputs.sink),
        ]

    # Importance --------------------------------------------------------------------------------------

    def _importance(self, geometry, beats):
        """Every key that is visible gains, also those whose value is dropped."""
        self.gains = gains = AlignedWeights(geometry, masked=False)
        sink, factor = self.totals.sink, self.for_gains.source
        self.comb += [
            beats.connect(gains.sink),
            gains.keys.eq(geometry.keys_a_word),
            self.orders["gained"].connect(gains.row),
            gains.source.connect(sink, omit={"valid", "ready"}),
            sink.valid.eq(gains.source.valid & factor.valid),
            sink.gain.eq(factor.gain),
            gains.source.ready.eq(sink.ready & factor.valid),
            self.added.eq(sink.valid & sink.ready & sink.last),
            factor.ready.eq(self.added),
        ]

    # Values ------------------------------------------------------------------------------------------

    def _values(self, geometry, beats):
        """Weights meet their values: in place with V on chip, one after the other with V from memory."""
        array = self.array
        depth = geometry.config.max_sequence
        self.aligned = aligned = AlignedWeights(geometry)
        self.compact = compact = CompactWeights(geometry)
        self.words = words = Replay(compact.source.description.payload_layout, depth)
        self.places = places = Replay(compact.index.description.payload_layout, depth)
        # Registers both ways: the array decides late, by a flag out of a memory, and what holds the beats has
        # many enables.
        self.weights_buffer = weights_buffer = stream.Buffer(compact.source.description, pipe_ready=True)
        weights = weights_buffer.source
        # What makes them waits for two.
        self.words_skid = words_skid = Skid(compact.source.description)
        self.places_skid = places_skid = Skid(compact.index.description)
        # Nor must the many enables of the buffer hang on that flag.
        self.values_skid = values_skid = Skid(self.buffer.source.description)
        values = stream.Endpoint(self.buffer.source.description)
        both = Signal()
        self.comb += [
            If(self.reuse, beats.connect(aligned.sink)).Else(beats.connect(compact.sink)),
            aligned.keys.eq(self.keys),
            compact.keys.eq(self.keys),
            self.orders["aligned_rows"].connect(aligned.row),
            self.orders["word_passes"].connect(words.row),
            self.orders["index_passes"].connect(places.row),
            self.orders["reads"].connect(self.buffer.read),
            self.buffer.source.connect(values_skid.sink),
            compact.source.connect(words_skid.sink),
            compact.index.connect(places_skid.sink),
            words_skid.source.connect(words.sink),
            places_skid.source.connect(places.sink),
            places.source.connect(self.index, omit={"end", "last"}),
            self.index.last.eq(places.source.end),
            If(
                self.reuse,
                aligned.source.connect(weights_buffer.sink),
                self.fill.connect(self.buffer.sink),
                values_skid.source.connect(values),
            ).Else(
                words.source.connect(weights_buffer.sink, omit={"end"}),
                self.fill.connect(values, omit={"base", "lsb"}),
            ),
        ]
        # A key that takes several words keeps its weight for all of them.
        part, parts = Signal(8), Signal(8, reset_less=True)
        final = Signal()
        self.comb += [
            final.eq(part == parts),
            both.eq(weights.valid & values.valid),
            array.sink.valid.eq(both),
            array.sink.dim.eq(self.dim),
            array.sink.weights.eq(weights.weights),
            array.sink.elements.eq(values.elements),
            array.sink.last.eq(weights.last & final),
            self.busy.eq(both & array.sink.ready),
            self.starved.eq(weights.valid & ~values.valid),
            values.ready.eq(self.busy),
            weights.ready.eq(self.busy & final),
        ]
        self.sync += [
            parts.eq((self.dim - 1)[log2_int(geometry.lanes) :]),
            If(self.busy, part.eq(Mux(final, 0, part + 1))),
        ]

    # Outputs -----------------------------------------------------------------------------------------

    def _outputs(self):
        sums, scale, factor = self.array.source, self.scale, self.for_outputs.source
        self.comb += [
            sums.connect(scale.sink, omit={"valid", "ready"}),
            scale.sink.valid.eq(sums.valid & factor.valid),
            scale.sink.reciprocal.eq(factor.reciprocal),
            scale.sink.z.eq(factor.z),
            scale.sink.fo.eq(self.fo),
            sums.ready.eq(scale.sink.ready & factor.valid),
            factor.ready.eq(scale.sink.valid & scale.sink.ready & sums.last),
        ]
