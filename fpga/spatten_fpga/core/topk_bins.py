# SPDX-License-Identifier: BSD-2-Clause
"""Bins of a radix select: how many digits are at least 1, 2, 3, ..., and which of them is the threshold's."""

from __future__ import annotations

from functools import reduce
from operator import or_

from litex.gen import *
from migen import *

from .topk_count import at_least, reduce_columns

DIGIT_BITS = 4
GROUP = 7  # lanes counted into three bits right behind the decoder
COUNTING = 4  # cycles from the lanes to the bins


class DigitBins(LiteXModule):
    """Counts digits and finds the one that holds the k-th greatest value.

    Bin ``b`` counts digits of at least ``b``, so bins hold suffix sums from the start. They begin at minus
    the number wanted, so a sign says whether the k-th greatest has a digit of ``b`` or more. The digit of the
    threshold is the greatest such ``b``. The bin above it then holds minus the number still wanted among
    the values with that digit, which is the start of the next digit's count.

    Parameters
    ----------
    lanes : digits counted a cycle.
    depth : most digits counted in all.

    Attributes
    ----------
    lanes : in, digits; 0 is not counted.
    load, k : in, start anew with ``k`` wanted. Two cycles later, digits may reach the bins.
    choose : in, the bins are complete: ``digit`` holds, bins and ``ties`` are ready for the next digit.
    again : in, with ``choose``: there is a next digit. Else the bins wait for ``load``.
    digit : out, digit of the threshold, with ``choose``.
    ties : out, number wanted among the values that match all digits chosen, from the cycle after ``choose``.

    A digit is in its bins COUNTING cycles after it was on its lane.
    """

    def __init__(self, lanes: int, depth: int) -> None:
        self.lanes = [Signal(DIGIT_BITS) for _ in range(lanes)]
        self.load, self.choose, self.again = Signal(), Signal(), Signal()
        self.k = Signal(max=depth + 1)
        self.digit = Signal(DIGIT_BITS)
        self.ties = Signal(max=depth + 1)

        # # #

        width = bits_for(max(depth, lanes)) + 1
        wanted = Signal(width)  # negative
        start, starting = Signal(width), Signal()
        bins = [Signal(width) for _ in range(1, 1 << DIGIT_BITS)]

        # Count ------------------------------------------------------------------------------------
        for b, held in enumerate(bins, start=1):
            reached = Signal(len(self.lanes))
            self.sync += reached.eq(Cat(*(at_least(lane, b) for lane in self.lanes)))
            rows = self._count([reached[i] for i in range(len(self.lanes))])
            total, carry = self._add(held, *rows, start)
            self.sync += [held.eq(total + carry), If(self.choose, held.eq(0))]

        # Choose -----------------------------------------------------------------------------------
        enough = [1, *(~held[-1] for held in bins), 0]
        chosen = Signal(len(bins) + 1)  # by digit, one bit set
        above = [Replicate(chosen[b], width) & held for b, held in enumerate(bins)]
        digit = [[chosen[b] for b in range(len(chosen)) if b >> bit & 1] for bit in range(DIGIT_BITS)]
        self.comb += [
            chosen.eq(Cat(*(enough[b] & ~enough[b + 1] for b in range(len(bins))), enough[len(bins)])),
            self.digit.eq(Cat(*(reduce(or_, choices) for choices in digit))),
            self.ties.eq(-wanted),
            start.eq(wanted & Replicate(starting, width)),
        ]
        self.sync += [
            starting.eq(self.load | (self.choose & self.again)),
            If(self.load, wanted.eq(-self.k)),
            If(self.choose & ~chosen[-1], wanted.eq(reduce(or_, above))),
        ]

    def _count(self, bits: list) -> tuple[Signal, Signal]:
        """Set bits, as a sum row and a carry row. Two stages."""
        width = bits_for(len(bits))
        columns: list[list[Signal]] = [[] for _ in range(width)]
        for at in range(0, len(bits), GROUP):
            group = Signal(len(bits[at : at + GROUP]))
            self.comb += group.eq(Cat(*bits[at : at + GROUP]))
            number = reduce_columns(self, [[group[i] for i in range(len(group))]], 1, bits_for(len(group)))
            held = Signal(len(number))
            self.sync += held.eq(Cat(*(bit for (bit,) in number)))
            for place in range(len(held)):
                columns[place].append(held[place])
        rows = [[*column, 0, 0][:2] for column in reduce_columns(self, columns, 2, width)]
        total, carry = Signal(width), Signal(width)
        self.sync += [total.eq(Cat(*(row[0] for row in rows))), carry.eq(Cat(*(row[1] for row in rows)))]
        return total, carry

    def _add(self, held: Signal, total: Signal, carry: Signal, start: Signal) -> tuple[Signal, Signal]:
        """Sum and carry row of all four. ``start`` may take a carry's place: unless 0, the others are."""
        size = len(total)
        mixed = total | start[:size]
        sums, carries, majority = Signal(len(held)), Signal(len(held)), Signal(size)
        self.comb += [
            majority.eq((held[:size] & mixed) | (carry & (held[:size] | mixed))),
            sums.eq(Cat(held[:size] ^ mixed ^ carry, held[size:])),
            carries.eq(Cat(0, majority) | Cat(Replicate(0, size), start[size:])),
        ]
        return sums, carries
