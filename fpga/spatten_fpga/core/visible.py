# SPDX-License-Identifier: BSD-2-Clause
"""How many keys each query sees."""

from __future__ import annotations

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from .descriptor import SLOT_BITS, slot_layout
from .fetch import KeyLookup
from .geometry import Geometry


class VisibleKeys(LiteXModule):
    """Number of visible keys of each query of a job.

    Keys and queries are both in ascending order of slot, so the keys a query sees are the first ones of the
    key list, and no fewer than those of the query before: the two lists are merged. A query that sees the
    last key, or any query if the job is not causal, sees all keys and needs no comparison with the others.

    A query a cycle, and a cycle for each key passed over on the way; the first query 4 cycles after
    ``start``, ``done`` 2 cycles after the last. Lists out of order give wrong numbers, but it ends.

    Parameters
    ----------
    geometry : sizes of the core.

    Attributes
    ----------
    start : Signal, in, pulse: the key list is there; ``n_keys`` (1 at least) and ``causal`` stay until
        ``done``.
    done : Signal, out: all numbers are there; stays until the next ``start``. 0 after reset.
    n_keys : Signal, in: keys of the list.
    causal : Signal, in: a query sees only keys of its own or a lower slot.
    queries : Endpoint, in, of :func:`slot_layout`, ascending, ``last`` on the last; waits for ``start``.
    list_index : Signal, out: place in the key list.
    list_word : Signal(16), in: the entry, slot in bits 0 to 14, one cycle after ``list_index``.
    query_index : Signal, in: which query, counted from 0.
    count : Signal, out: number of its visible keys, one cycle later.

    Source: contract, section 4.
    """

    def __init__(self, geometry: Geometry) -> None:
        most = geometry.config.max_sequence
        self.start = Signal()
        self.done = Signal()
        self.n_keys = Signal(bits_for(most))
        self.causal = Signal()
        self.queries = queries = stream.Endpoint(slot_layout())
        self.query_index = Signal(geometry.index_bits)
        self.count = Signal(bits_for(most))

        # # #

        self.lookup = lookup = ResetInserter()(KeyLookup(geometry))
        self.list_index, self.list_word = lookup.list_index, lookup.list_word
        self.fsm = fsm = FSM(reset_state="IDLE")

        # Keys: the last of the list, then all from the first on -----------------------------------
        key = Signal(SLOT_BITS - 1)  # without the protected bit
        index = Signal(geometry.index_bits, reset_less=True)
        opening = Signal()  # the last one is not asked for yet
        self.comb += [
            lookup.reset.eq(fsm.ongoing("IDLE")),
            lookup.sink.valid.eq(1),
            lookup.sink.index.eq(index),
            key.eq(lookup.source.slot),
        ]
        self.sync += If(fsm.ongoing("IDLE"), index.eq(self.n_keys - 1), opening.eq(1)).Elif(
            lookup.sink.ready, index.eq(Mux(opening, 0, index + 1)), opening.eq(0)
        )

        # Numbers ----------------------------------------------------------------------------------
        memory = Memory(len(self.count), most)
        writer = memory.get_port(write_capable=True, mode=READ_FIRST)
        reader = memory.get_port(mode=READ_FIRST)
        self.specials += memory, writer, reader
        self.comb += [reader.adr.eq(self.query_index), self.count.eq(reader.dat_r)]

        # Merge ------------------------------------------------------------------------------------
        last_key = Signal(SLOT_BITS - 1, reset_less=True)
        passed = Signal(bits_for(most), reset_less=True)  # keys that the query is known to see
        query = Signal(geometry.index_bits, reset_less=True)
        sees_all, sees_key, counted = Signal(), Signal(), Signal()
        closing = Signal()
        self.comb += [
            sees_all.eq(~self.causal | (last_key <= queries.slot)),
            sees_key.eq(key <= queries.slot),
        ]
        self.sync += [
            closing.eq(counted & queries.last),
            If(closing, self.done.eq(1)),
            If(self.start, self.done.eq(0)),
            writer.we.eq(counted),
            writer.adr.eq(query),
            writer.dat_w.eq(Mux(sees_all, self.n_keys, passed)),
        ]
        fsm.act("IDLE", If(self.start, NextValue(passed, 0), NextValue(query, 0), NextState("READ-LAST-KEY")))
        fsm.act(
            "READ-LAST-KEY",
            lookup.source.ready.eq(1),
            NextValue(last_key, key),
            If(lookup.source.valid, NextState("MERGE")),
        )
        fsm.act(
            "MERGE",
            queries.ready.eq(sees_all | (lookup.source.valid & ~sees_key)),
            counted.eq(queries.valid & queries.ready),
            lookup.source.ready.eq(queries.valid & ~sees_all & sees_key),
            If(lookup.source.valid & lookup.source.ready, NextValue(passed, passed + 1)),
            If(counted, NextValue(query, query + 1), If(queries.last, NextState("IDLE"))),
        )
