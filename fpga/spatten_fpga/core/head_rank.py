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
        self.keep = Signal(max=depth + 1)
        self.sink = stream.Endpoint(rank_layout())
        self.source = stream.Endpoint(head_id_layout())

        # # #

        memory = Memory(HEAD_IMPORTANCE_BITS + HEAD_ID_BITS, max(2, depth))
        self._store = store = memory.get_port(write_capable=True, mode=READ_FIRST)
        self._fetch = fetch = memory.get_port(mode=READ_FIRST)
        self.specials += memory, store, fetch
        self._mine, self._theirs = (Signal(HEAD_IMPORTANCE_BITS, reset_less=True) for _ in range(2))
        greater, equal = Signal(2, reset_less=True), Signal(2, reset_less=True)  # of each half
        self._place = place = Signal(max=max(2, depth))
        self._other, self._final = (Signal.like(place, reset_less=True) for _ in range(2))
        compare, first = Signal(), Signal()  # a head is compared; with a head that came first
        self._compare = compare
        self._halves(greater, equal)
        self._count(greater, equal, first)
        self._places()
        self._steps()

    # Comparison --------------------------------------------------------------------------------------

    def _halves(self, greater: Signal, equal: Signal) -> None:
        """Compares a head with the one that is held, in two halves: all bits at once would be slow."""
        half = HEAD_IMPORTANCE_BITS // 2
        mine, theirs = self._mine, self._theirs
        self.sync += theirs.eq(self._fetch.dat_r[:HEAD_IMPORTANCE_BITS])
        for part in range(2):
            bits = slice(part * half, (part + 1) * half)
            self.sync += [
                greater[part].eq(theirs[bits] > mine[bits]),
                equal[part].eq(theirs[bits] == mine[bits]),
            ]

    def _count(self, greater: Signal, equal: Signal, first: Signal) -> None:
        """Counts the heads that go before the one held: greater ones, and equal ones that came first."""
        self._before = before = Signal.like(self.keep, reset_less=True)
        compared = delayed(self, self._compare, self.LATENCY, reset_less=False)
        wins_tie = delayed(self, first, self.LATENCY)
        self.comb += first.eq(self._other < self._place)
        self.sync += If(
            compared & (greater[1] | (equal[1] & (greater[0] | (equal[0] & wins_tie)))), before.eq(before + 1)
        )

    # Steps -------------------------------------------------------------------------------------------

    def _places(self) -> None:
        """Heads are written in order; what is read is the head to be held, or one to compare it with."""
        sink, store = self.sink, self._store
        self._left = left = Signal.like(self.keep, reset_less=True)
        self._wait = Signal(max=self.LATENCY)
        self.comb += [
            store.adr.eq(self._place),
            store.dat_w.eq(Cat(sink.importance, sink.head_id)),
            store.we.eq(sink.valid & sink.ready),
            self._fetch.adr.eq(Mux(self._compare, self._other, self._place)),
            self.source.last.eq(left == 1),
        ]

    def _steps(self) -> None:
        """All heads are loaded; then each is held, compared with all, and given out or left."""
        self.fsm = fsm = FSM(reset_state="LOAD")
        self._load()
        fsm.act("FETCH", NextState("HOLD"))
        fsm.act(
            "HOLD",
            NextValue(self._mine, self._fetch.dat_r[:HEAD_IMPORTANCE_BITS]),
            NextValue(self.source.head_id, self._fetch.dat_r[HEAD_IMPORTANCE_BITS:]),
            NextValue(self._other, 0),
            NextValue(self._before, 0),
            NextState("COMPARE"),
        )
        fsm.act(
            "COMPARE",
            self._compare.eq(1),
            NextValue(self._other, self._other + 1),
            NextValue(self._wait, self.LATENCY - 1),
            If(self._other == self._final, NextState("SETTLE")),
        )
        fsm.act("SETTLE", NextValue(self._wait, self._wait - 1), If(self._wait == 0, NextState("DECIDE")))
        self._decide()

    def _load(self) -> None:
        """Takes the heads, and how many are to be kept."""
        sink, place = self.sink, self._place
        self.fsm.act(
            "LOAD",
            sink.ready.eq(1),
            NextValue(self._left, self.keep),
            If(
                sink.valid,
                NextValue(place, place + 1),
                If(sink.last, NextValue(place, 0), NextValue(self._final, place), NextState("FETCH")),
            ),
        )

    def _decide(self) -> None:
        """A head survives if fewer than ``keep`` go before it; the last one ends the set."""
        source, place, left = self.source, self._place, self._left
        onward = [NextValue(place, place + 1), NextState("FETCH")]
        self.fsm.act(
            "DECIDE",
            source.valid.eq(self._before < self.keep),
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
