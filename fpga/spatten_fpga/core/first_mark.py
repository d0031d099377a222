# SPDX-License-Identifier: BSD-2-Clause
"""The first lane that is marked."""

from __future__ import annotations

from migen import If, Module, Signal


def first_mark(module: Module, marks: Signal) -> tuple[Signal, Signal]:
    """The lowest set bit of ``marks`` alone, and its number; both 0 if none is set.

    Parameters
    ----------
    module : gets the logic.
    marks : a bit a lane.
    """
    lanes = len(marks)
    first, lane = Signal(lanes), Signal(max=max(2, lanes))
    module.comb += [first.eq(marks & (~marks + 1)), *(If(first[i], lane.eq(i)) for i in range(1, lanes))]
    return first, lane
