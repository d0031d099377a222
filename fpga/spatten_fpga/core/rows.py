# SPDX-License-Identifier: BSD-2-Clause
"""Which row does what when: dispatch, progressive decision, refetch and retirement of rows.

A *row* is one query of one head. Up to ``SLOTS`` are in flight: the next ones go on while one waits for
its LSBs. They retire in order, so outputs, importance and V come in the order of the job.
"""

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from spatten_drivers.job import KeyPolicy, ValuePolicy

from .checks import field_signals
from .geometry import SUM_BITS, Geometry
from .operand_buffer import BOTH, LSB, MSB
from .picks import picked_layout
from .score_path import score_pass_layout
from .value_path import value_pass_layout

SLOTS = 4


def second_layout(geometry: Geometry) -> list:
    """A row that needs a second pass, of the LSB plane of so many keys."""
    return [("slot", bits_for(SLOTS - 1)), ("head", 4), ("keys", bits_for(geometry.config.max_sequence))]


def keys_layout(geometry: Geometry) -> list:
    """Keys to fetch for a pass: ``rows`` of either plane, the first of the list or, by key, those picked."""
    return [("head", 4), ("rows", bits_for(geometry.config.max_sequence)), ("lsb", 1)]


def values_layout(geometry: Geometry) -> list:
    """A row whose kept values are to be fetched, of one plane or of both."""
    return [("head", 4), ("rows", bits_for(geometry.config.max_sequence)), ("both", 1)]


class RowControl(LiteXModule):
    """Leads rows through the paths.

    With ``reuse`` a pass starts when what it reads is on chip; ``lsb_needed`` asks for a head's LSB planes.
    Without, each pass asks for its own keys by a token of ``wanted_keys``, in the order of the passes.

    Parameters
    ----------
    geometry : sizes of the core.

    Attributes
    ----------
    fields : in, header fields of the job by name.
    reuse : in, mode.
    start : in, pulse: a job begins; everything here is idle then.
    queries_stored : in, pulse: another query row is on chip.
    k_heads, v_heads : in, heads whose K, whose V is on chip, for ``reuse``.
    k_lsb_there, v_lsb_there : in, one bit for odd and even heads: its LSB plane is on chip.
    odd_base : in, place of an odd head's words in the operand buffers; even heads start at 0.
    query_index, visible : out, in a cycle later: keys that a query sees.
    lsb_needed, lsb_head : out, with ``reuse``: a row of that head waits for the head's LSB planes.
    wanted_keys : out, :func:`keys_layout`, without ``reuse``.
    wanted_values : out, :func:`values_layout`, without ``reuse``.
    held : in, no new row may start: its keys would come before those of a second pass that is known soon.
    row_near : out, a row starts as soon as it may.
    passes, retired, read : out, to the score path, the value path, the softmax path.
    summed : in, from the softmax path.
    freed : in, pulse: the weights of the row that retired longest ago were read.
    slot_heads : out, head of the row in each slot.
    queries_used : out, pulse: the oldest query row is not needed any more.
    refetched : out, rows that refetched.
    starved : out, a row could go on, and what it needs is not read yet: its query, keys, values or LSBs.
    """

    def __init__(self, geometry):
        config = geometry.config
        keys = bits_for(config.max_sequence)
        self.reuse = Signal()
        self.start = Signal()
        self.queries_stored = Signal()
        self.k_heads = Signal(max=config.max_heads + 1)
        self.v_heads = Signal(max=config.max_heads + 1)
        self.k_lsb_there = Signal(2)
        self.v_lsb_there = Signal(2)
        self.odd_base = Signal(bits_for(geometry.buffer_words - 1))
        self.query_index = Signal(geometry.index_bits)
        self.visible = Signal(keys)
        self.lsb_needed = Signal()
        self.lsb_head = Signal(4)
        self.wanted_keys = stream.Endpoint(keys_layout(geometry))
        self.wanted_values = stream.Endpoint(values_layout(geometry))
        self.held, self.row_near = Signal(), Signal()
        self.passes = stream.Endpoint(score_pass_layout(geometry, SLOTS))
        self.retired = stream.Endpoint(value_pass_layout(geometry))
        self.read = stream.Endpoint([("slot", bits_for(SLOTS - 1)), ("keys", keys), ("k", keys)])
        self.summed = stream.Endpoint(picked_layout(geometry, SLOTS))
        self.freed = Signal()
        self.queries_used = Signal()
        self.refetched = Signal(32, reset_less=True)
        self.starved = Signal()
        self.slot_heads = [Signal(4, reset_less=True) for _ in range(SLOTS)]
        self.fields = field_signals(
            "head_dim",
            "n_heads",
            "n_queries",
            "keep_values",
            "k_policy",
            "v_policy",
            "k_lsb_bits",
            "v_lsb_bits",
            "refetch_limit",
        )

        # # #

        self._rows(geometry, keys)
        self._words(geometry)
        self._dispatch(geometry)
        self._decide(geometry)
        self._second_pass(geometry)
        self._retire(geometry)

    # State of the rows in flight ---------------------------------------------------------------------

    def _rows(self, geometry, keys):
        slot, place = bits_for(SLOTS - 1), bits_for(geometry.config.query_buffer_rows - 1)
        self.keys = [Signal(keys, reset_less=True) for _ in range(SLOTS)]
        self.places = [Signal(place, reset_less=True) for _ in range(SLOTS)]
        self.sums = [Signal(SUM_BITS, reset_less=True) for _ in range(SLOTS)]
        # Keys whose weight reaches the limit of values.
        self.above = [Signal(keys, reset_less=True) for _ in range(SLOTS)]
        self.second = Signal(SLOTS)  # its LSBs were asked for
        self.certain = Signal(SLOTS)
        self.flying = Signal(max=SLOTS + 1)
        self.newest, self.oldest = Signal(slot), Signal(slot)
        self.dispatched, self.gone = Signal(), Signal()
        self.next_starved, self.oldest_starved = Signal(), Signal()
        self.comb += self.starved.eq(self.next_starved | self.oldest_starved | self.lsb_needed)
        self.sync += self.flying.eq(self.flying + self.dispatched - self.freed)

    # Words that so many keys take --------------------------------------------------------------------

    def _words(self, geometry):
        """``full``: keys of a word at the job's head dimension, or of a part of one."""
        self.full = Signal(max=geometry.keys_a_word + 1, reset_less=True)
        cases = {d: self.full.eq(max(1, geometry.keys_per_word(d))) for d in geometry.config.head_dims}
        self.sync += Case(self.fields["head_dim"], cases)

    def words_of(self, geometry, keys):
        """Statements' operands ``(words, tail)`` for a number of keys."""
        words, tail = Signal(bits_for(geometry.buffer_words)), Signal(bits_for(geometry.keys_a_word))
        cases = {}
        for dim in geometry.config.head_dims:
            together = geometry.keys_per_word(dim)
            if together > 1:
                left = keys[: log2_int(together)]
                cases[dim] = [
                    words.eq((keys + together - 1)[log2_int(together) :]),
                    tail.eq(Mux(left == 0, together, left)),
                ]
            else:
                cases[dim] = [words.eq(keys * geometry.words_per_key(dim)), tail.eq(1)]
        self.comb += Case(self.fields["head_dim"], cases)
        return words, tail

    # Dispatch ----------------------------------------------------------------------------------------

    def _dispatch(self, geometry):
        """The next row, once its query and, with reuse, its keys are on chip and a slot is free."""
        fields = self.fields
        head, query = Signal(5), Signal(16)
        place = Signal(len(self.places[0]))
        ready = Signal(bits_for(geometry.config.query_buffer_rows))  # query rows on chip and not dispatched
        more, looked, keyed = Signal(), Signal(2), Signal()
        self.new_pass, self.new_taken = Signal(), Signal()
        self.new_keys = Signal(len(self.visible), reset_less=True)
        self.new_place, self.new_head = place, head
        last_query = query + 1 == fields["n_queries"]
        self.comb += [
            self.query_index.eq(query),
            self.row_near.eq(more & (ready != 0) & (self.flying != SLOTS)),
            self.new_pass.eq(self.row_near & (looked == 3) & keyed & ~self.held),
            self.dispatched.eq(self.new_pass & self.new_taken),
            self.next_starved.eq(more & (looked == 3) & (self.flying != SLOTS) & ~((ready != 0) & keyed)),
        ]
        self.sync += [
            ready.eq(ready + self.queries_stored - self.dispatched),
            # A cycle late, which is no risk: a new head stands three cycles before `looked` is 3.
            keyed.eq(~self.reuse | (self.k_heads > head)),
            # The number of visible keys is there two cycles after the query's index.
            If(more & (looked != 3), looked.eq(looked + 1)),
            self.new_keys.eq(self.visible),
            If(
                self.dispatched,
                looked.eq(0),
                self.newest.eq(self.newest + 1),
                place.eq(Mux(place == geometry.config.query_buffer_rows - 1, 0, place + 1)),
                query.eq(Mux(last_query, 0, query + 1)),
                If(last_query, head.eq(head + 1), If(head + 1 == fields["n_heads"], more.eq(0))),
                *[
                    If(
                        self.newest == slot,
                        self.slot_heads[slot].eq(head),
                        self.keys[slot].eq(self.new_keys),
                        self.places[slot].eq(place),
                        self.second[slot].eq(0),
                        self.certain[slot].eq(0),
                    )
                    for slot in range(SLOTS)
                ],
            ),
            If(
                self.start,
                more.eq(1),
                head.eq(0),
                query.eq(0),
                looked.eq(0),
                self.refetched.eq(0),
            ),
        ]

    # Decision ----------------------------------------------------------------------------------------

    def _decide(self, geometry):
        """A pass ends with its sum; a cycle later the row is certain, or it needs the LSB plane."""
        fields, summed = self.fields, self.summed
        decided = Signal()
        row, total, above, picked = (
            Signal.like(one, reset_less=True)
            for one in (summed.slot, summed.sum, summed.above, summed.picked)
        )
        unsure, forced, second = Signal(reset_less=True), Signal(), Signal()
        self.waiting = waiting = stream.SyncFIFO(second_layout(geometry), SLOTS)
        self.comb += [
            summed.ready.eq(1),  # there is room for every row in flight
            second.eq(Array(self.second)[row]),
            # Both planes from memory: the second is added by the same machine, without a decision.
            forced.eq((fields["k_policy"] == KeyPolicy.ALWAYS) & ~self.reuse),
            waiting.sink.valid.eq(decided & ~second & (unsure | forced)),
            waiting.sink.slot.eq(row),
            waiting.sink.head.eq(Array(self.slot_heads)[row]),
            waiting.sink.keys.eq(Mux(picked != 0, picked, Array(self.keys)[row])),
        ]
        self.sync += [
            decided.eq(summed.valid),
            row.eq(summed.slot),
            total.eq(summed.sum),
            above.eq(summed.above),
            picked.eq(summed.picked),
            unsure.eq(
                ((fields["k_policy"] == KeyPolicy.PROGRESSIVE) & (summed.sum > fields["refetch_limit"]))
                | (summed.picked != 0)
            ),
            If(waiting.sink.valid & unsure, self.refetched.eq(self.refetched + 1)),
            *[
                If(
                    decided & (row == slot),
                    If(waiting.sink.valid, self.second[slot].eq(1)).Else(
                        self.certain[slot].eq(1), self.sums[slot].eq(total), self.above[slot].eq(above)
                    ),
                )
                for slot in range(SLOTS)
            ],
        ]

    # Passes ------------------------------------------------------------------------------------------

    def _second_pass(self, geometry):
        """One stream of passes: second passes first, as rows behind them wait for their slots."""
        fields, passes, waiting = self.fields, self.passes, self.waiting.source
        again, there, room = Signal(), Signal(), Signal()
        keys, head = Signal(len(self.new_keys)), Signal(5)
        words, tail = self.words_of(geometry, keys)
        new_use = Signal(2)
        self.comb += [
            new_use.eq(BOTH),
            If(
                (fields["k_policy"] != KeyPolicy.ALWAYS) & (fields["k_lsb_bits"] != 0),
                new_use.eq(MSB),
            ),
            there.eq(Mux(waiting.head[0], self.k_lsb_there[1], self.k_lsb_there[0])),
            self.lsb_needed.eq(waiting.valid & self.reuse & ~there),
            self.lsb_head.eq(waiting.head),
            room.eq(passes.ready & (self.reuse | self.wanted_keys.ready)),
            again.eq(waiting.valid & (there | ~self.reuse)),
            waiting.ready.eq(again & room),
            self.new_taken.eq(~again & room),
            keys.eq(Mux(again, waiting.keys, self.new_keys)),
            head.eq(Mux(again, waiting.head, self.new_head)),
            self.wanted_keys.valid.eq((again | self.new_pass) & ~self.reuse & passes.ready),
            self.wanted_keys.head.eq(head),
            self.wanted_keys.rows.eq(keys),
            self.wanted_keys.lsb.eq(again),
            passes.valid.eq((again | self.new_pass) & (self.reuse | self.wanted_keys.ready)),
            passes.slot.eq(Mux(again, waiting.slot, self.newest)),
            passes.add.eq(again),
            passes.place.eq(Mux(again, Array(self.places)[waiting.slot], self.new_place)),
            passes.base.eq(Mux(head[0], self.odd_base, 0)),
            passes.words.eq(words),
            passes.full.eq(self.full),
            passes.tail.eq(tail),
            passes.use.eq(Mux(again, LSB, new_use)),
        ]

    # Retirement --------------------------------------------------------------------------------------

    def _retire(self, geometry):
        """The oldest row, once it is certain and, with reuse, its values are on chip."""
        fields, retired = self.fields, self.retired
        head, keys = Array(self.slot_heads)[self.oldest], Array(self.keys)[self.oldest]
        above, second = Array(self.above)[self.oldest], Array(self.second)[self.oldest]
        row_keys = Signal(len(self.visible))
        words, tail = self.words_of(geometry, row_keys)
        both, there, kept = Signal(), Signal(), Signal(len(self.visible))
        certain, ready, go, left = Signal(), Signal(), Signal(), Signal(max=SLOTS + 1)
        self.queue = queue = stream.SyncFIFO(self.read.description, SLOTS)
        self.wanted = wanted = stream.SyncFIFO(self.wanted_values.description, SLOTS)
        refetched = second & (fields["k_policy"] == KeyPolicy.PROGRESSIVE)
        self.comb += [
            row_keys.eq(keys),
            both.eq(
                (fields["v_policy"] == ValuePolicy.ALWAYS)
                | ((fields["v_policy"] == ValuePolicy.ON_REFETCH) & refetched)
            ),
            there.eq(
                ~self.reuse
                | (
                    (self.v_heads > head)
                    & (
                        ~refetched
                        | (fields["v_policy"] != ValuePolicy.ON_REFETCH)
                        | Mux(head[0], self.v_lsb_there[1], self.v_lsb_there[0])
                    )
                )
            ),
            # The greatest weights, as many as reach the limit, are those that reach it.
            kept.eq(Mux(fields["keep_values"] < above, fields["keep_values"], above)),
            certain.eq((left != 0) & Array(self.certain)[self.oldest]),
            ready.eq(certain & there),
            self.oldest_starved.eq(certain & ~there),
            go.eq(ready & retired.ready & queue.sink.ready & (wanted.sink.ready | self.reuse)),
            self.queries_used.eq(go),
            retired.valid.eq(go),
            retired.n.eq(row_keys),
            retired.sum.eq(Array(self.sums)[self.oldest]),
            retired.passes.eq(1 + both),
            retired.base.eq(Mux(head[0], self.odd_base, 0)),
            retired.words.eq(words),
            retired.full.eq(self.full),
            retired.tail.eq(tail),
            retired.use.eq(Mux(both | (fields["v_lsb_bits"] == 0), BOTH, MSB)),
            queue.sink.valid.eq(go),
            queue.sink.slot.eq(self.oldest),
            queue.sink.keys.eq(row_keys),
            queue.sink.k.eq(kept),
            wanted.sink.valid.eq(go & ~self.reuse),
            wanted.sink.head.eq(head),
            wanted.sink.rows.eq(kept),
            wanted.sink.both.eq(both),
            queue.source.connect(self.read),
            wanted.source.connect(self.wanted_values),
        ]
        # `left` counts rows in flight that did not retire; a slot is free only when its weights were read.
        self.sync += [
            left.eq(left + self.dispatched - go),
            If(go, self.oldest.eq(self.oldest + 1)),
        ]
