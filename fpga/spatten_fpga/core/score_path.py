# SPDX-License-Identifier: BSD-2-Clause
"""From keys to scores: queries, the K buffer and the Q x K array, one pass over a row's keys at a time."""

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from .geometry import Geometry
from .lane_pack import LanePack
from .operand_buffer import OperandBuffer, fill_layout, read_layout
from .qk_array import QKArray
from .query_store import QueryStore
from .scores import scores_layout
from .skid import Skid


def score_pass_layout(geometry: Geometry, slots: int) -> list:
    """A pass over the keys of a row.

    ``slot`` gets the scores, added to what it has if ``add``; ``place`` holds the query. The other fields say
    what to read from the K buffer, as :func:`.operand_buffer.read_layout` does; a pass whose keys come
    from memory does not use them.
    """
    return [
        ("slot", bits_for(slots - 1)),
        ("add", 1),
        ("place", bits_for(geometry.config.query_buffer_rows - 1)),
        *read_layout(geometry, geometry.buffer_words).payload_layout,
    ]


class ScorePath(LiteXModule):
    """Scores of one pass after another, in the order of the commands.

    With ``reuse`` the keys that come from memory fill the buffer and passes read it; else they go by it, and
    a pass takes words until ``last``.

    Parameters
    ----------
    geometry : sizes of the core.
    slots : rows in flight.

    Attributes
    ----------
    dim, keys, reuse : in, head dimension, keys of a word at it, mode; stable during a job.
    queries : in, :func:`.query_store.stored_query_layout`.
    fill : in, :func:`.operand_buffer.fill_layout`: words of keys from memory.
    passes : in, :func:`score_pass_layout`.
    source : out, :func:`.scores.scores_layout`.
    busy : out, the array takes a word in this cycle.

    Source: paper, section IV-C; contract, section 4, step 1.
    """

    def __init__(self, geometry, slots):
        self.dim = Signal(8)
        self.keys = Signal(max=geometry.keys_a_word + 1)
        self.reuse = Signal()
        self.fill = stream.Endpoint(fill_layout(geometry, geometry.buffer_words))
        self.passes = stream.Endpoint(score_pass_layout(geometry, slots))
        # A skid register: the array's whole pipeline hangs on the ready of its scores.
        self.scores_skid = Skid(scores_layout(geometry, slots))
        self.source = self.scores_skid.source
        self.busy = Signal()
        self.store = QueryStore(geometry, geometry.config.query_buffer_rows)
        self.buffer = OperandBuffer(geometry, geometry.buffer_words)
        self.array = QKArray(geometry)
        self.pack = LanePack(geometry, slots)
        self.queries = self.store.sink

        # # #

        array, buffer, passes = self.array, self.buffer, self.passes

        # A pass is three orders: which query, which words, where the scores go -----------------------
        self.order_query = order_query = stream.SyncFIFO(self.store.read.description, 2)
        self.order_words = order_words = stream.SyncFIFO(buffer.read.description, 2)
        self.order_label = order_label = stream.SyncFIFO([("slot", len(passes.slot)), ("add", 1)], 4)
        ready = Signal()
        self.comb += [
            ready.eq(
                order_query.sink.ready & order_label.sink.ready & (order_words.sink.ready | ~self.reuse)
            ),
            passes.ready.eq(ready),
            order_query.sink.valid.eq(passes.valid & ready),
            order_query.sink.slot.eq(passes.place),
            order_label.sink.valid.eq(passes.valid & ready),
            order_label.sink.slot.eq(passes.slot),
            order_label.sink.add.eq(passes.add),
            order_words.sink.valid.eq(passes.valid & ready & self.reuse),
            order_words.sink.payload.raw_bits().eq(
                Cat(getattr(passes, name) for name, *_ in buffer.read.description.payload_layout)
            ),
            order_query.source.connect(self.store.read),
            order_words.source.connect(buffer.read),
            self.store.dim.eq(self.dim),
            self.store.source.connect(array.query),
        ]

        # Keys ----------------------------------------------------------------------------------------
        self.comb += [
            array.sink.dim.eq(self.dim),
            array.sink.release.eq(array.sink.last),
            If(
                self.reuse,
                self.fill.connect(buffer.sink),
                buffer.source.connect(array.sink),
            ).Else(self.fill.connect(array.sink, omit={"base", "lsb"})),
            self.busy.eq(array.sink.valid & array.sink.ready),
        ]

        # Scores --------------------------------------------------------------------------------------
        label = order_label.source
        self.comb += [
            self.pack.keys.eq(self.keys),
            array.source.connect(self.pack.sink),
            self.pack.sink.slot.eq(label.slot),
            self.pack.sink.add.eq(label.add),
            label.ready.eq(array.source.valid & array.source.ready & array.source.last),
            self.pack.source.connect(self.scores_skid.sink),
        ]
