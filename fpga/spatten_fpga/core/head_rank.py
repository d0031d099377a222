# SPDX-License-Identifier: BSD-2-Clause
"""Which heads survive a job: the few greatest of a few, by counting for each how many go before it."""

from __future__ import annotations

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from .descriptor import HEAD_ID_BITS
from .geometry import HEAD_IMPORTANCE_BITS
from .weight import delayed


def rank_layout() -> list:
    """A head and what it is ranked by."""
    return [("importance", HEAD_IMPORTANCE_BITS), ("head_id", HEAD_ID_BITS)]


def head_id_layout() -> list:
    """A head."""
    return [("head_id", HEAD_ID_BITS)]


class HeadRank(LiteXModule):
    """Keeps the ``keep`` heads of greatest importance; of equal ones, those that came first.

    All heads are stored. Then each is compared with every other, and survives if fewer than ``keep`` go
    before it. For ``n`` heads that takes ``n + 6`` cycles a head, up to the last survivor.

    Parameters
    ----------
    depth : most heads.

    Attributes
    ----------
    keep : Signal, in, 1 to the number of heads; stays until the last survivor is taken.
    sink : Endpoint, in, of :func:`rank_layout`, ``last`` with the last head. Ready while none are compared.
    source : Endpoint, out, of :func:`head_id_layout`, ``last`` with the last survivor.

    Source: contract, section 7.
    """

    LATENCY = 3  # from an address to the count

    def __init__(self, depth: int) -> None:
        self.keep = keep = Signal(max=depth + 1)
        self.sink = sink = stream.Endpoint(rank_layout())
        self.source = source = stream.Endpoint(head_id_layout())

        # # #

        # Heads ------------------------------------------------------------------------------------
        memory = Memory(HEAD_IMPORTANCE_BITS + HEAD_ID_BITS, max(2, depth))
        store = memory.get_port(write_capable=True, mode=READ_FIRST)
        fetch = memory.get_port(mode=READ_FIRST)
        self.specials += memory, store, fetch
        importance, head_id = fetch.dat_r[:HEAD_IMPORTANCE_BITS], fetch.dat_r[HEAD_IMPORTANCE_BITS:]

        # Comparison, in two halves ----------------------------------------------------------------
        half = HEAD_IMPORTANCE_BITS // 2
        mine, theirs = (Signal(HEAD_IMPORTANCE_BITS, reset_less=True) for _ in range(2))
        greater, equal = Signal(2, reset_less=True), Signal(2, reset_less=True)
        self.sync += theirs.eq(importance)
        for part in range(2):
            bits = slice(part * half, (part + 1) * half)
            self.sync += [
                greater[part].eq(theirs[bits] > mine[bits]),
                equal[part].eq(theirs[bits] == mine[bits]),
            ]

        # Count ------------------------------------------------------------------------------------
        place = Signal(max=max(2, depth))
        other, final = (Signal.like(place, reset_less=True) for _ in range(2))
        compare, first = Signal(), Signal()  # a head is compared; with a head that came first
        before = Signal.like(keep, reset_less=True)
        compared = delayed(self, compare, self.LATENCY, reset_less=False)
        wins_tie = delayed(self, first, self.LATENCY)
        self.comb += first.eq(other < place)
        self.sync += If(
            compared & (greater[1] | (equal[1] & (greater[0] | (equal[0] & wins_tie)))), before.eq(before + 1)
        )

        # Steps ------------------------------------------------------------------------------------
        left = Signal.like(keep, reset_less=True)
        wait = Signal(max=self.LATENCY)
        onward = [NextValue(place, place + 1), NextState("FETCH")]
        self.comb += [
            store.adr.eq(place),
            store.dat_w.eq(Cat(sink.importance, sink.head_id)),
            store.we.eq(sink.valid & sink.ready),
            fetch.adr.eq(Mux(compare, other, place)),
            source.last.eq(left == 1),
        ]
        self.fsm = fsm = FSM(reset_state="LOAD")
        fsm.act(
            "LOAD",
            sink.ready.eq(1),
            NextValue(left, keep),
            If(
                sink.valid,
                NextValue(place, place + 1),
                If(sink.last, NextValue(place, 0), NextValue(final, place), NextState("FETCH")),
            ),
        )
        fsm.act("FETCH", NextState("HOLD"))
        fsm.act(
            "HOLD",
            NextValue(mine, importance),
            NextValue(source.head_id, head_id),
            NextValue(other, 0),
            NextValue(before, 0),
            NextState("COMPARE"),
        )
        fsm.act(
            "COMPARE",
            compare.eq(1),
            NextValue(other, other + 1),
            NextValue(wait, self.LATENCY - 1),
            If(other == final, NextState("SETTLE")),
        )
        fsm.act("SETTLE", NextValue(wait, wait - 1), If(wait == 0, NextState("DECIDE")))
        fsm.act(
            "DECIDE",
            source.valid.eq(before < keep),
            If(
                ~source.valid,
                *onward,
            ).Elif(
                source.ready,
                *onward,
                NextValue(left, left - 1),
                If(source.last, NextValue(place, 0), NextState("LOAD")),
            ),
        )
