# SPDX-License-Identifier: BSD-2-Clause
"""Top-k engine: the k greatest of up to ``depth`` values, in their order."""

from __future__ import annotations

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from .topk_bins import COUNTING
from .topk_emit import SurvivorMarker, kept_layout, prefix_stages
from .topk_select import SETTLE, RadixSelect, digits_of, set_layout, word_beats


class TopK(LiteXModule):
    """Keeps exactly ``k`` of ``n`` unsigned values: greater ones first, of equal ones those that came first.

    A radix select finds the k-th greatest value while and after the set is loaded; a second pass marks the
    survivors. Both work at the same time on successive sets, each with its half of the value memory. Values
    beyond ``n`` in the last beat are ignored and never kept.

    Parameters
    ----------
    parallelism : P, values of a beat, a power of two.
    width : bits of a value, unsigned.
    depth : most values of a set.

    Attributes
    ----------
    sink : in, set_layout(): P values a beat, value i at bits ``i * width``; ``n`` (1 to depth) and ``k``
        (1 to n) with every beat; ``ceil(n / P)`` beats, ``last`` with the last.
    source : out, kept_layout(): the same beats, ``keep`` marks the k survivors.

    Timing
    ------
    ``cycles()`` from the first beat offered to an idle engine to the last one taken at a source that is
    always ready, whatever the values and ``k`` are. Sets one behind the other start every ``period()``.

    Source: SpAtten (HPCA 2021), section IV-B, "Top-k engine"; orders of docs/contract.md, sections 5 and 7.
    """

    def __init__(self, parallelism: int, width: int, depth: int) -> None:
        if parallelism < 1 or parallelism & (parallelism - 1):
            raise ValueError(f"a top-k engine takes a power of two values a cycle, not {parallelism}")
        self.parallelism, self.width, self.depth = parallelism, width, depth
        self.sink = stream.Endpoint(set_layout(parallelism, width, depth))
        self.source = stream.Endpoint(kept_layout(parallelism, width))

        # # #

        self.select = select = RadixSelect(parallelism, width, depth)
        self.marker = marker = SurvivorMarker(parallelism, width, depth)
        self.comb += [
            self.sink.connect(select.sink),
            select.source.connect(marker.sink),
            marker.source.connect(self.source),
        ]

        # Values, two halves -----------------------------------------------------------------------
        memory = Memory(parallelism * width, 2 << len(select.store.address))
        write = memory.get_port(write_capable=True, mode=READ_FIRST)
        read = memory.get_port(has_re=True, mode=READ_FIRST)
        self.specials += memory, write, read
        self.comb += [
            write.we.eq(select.store.we),
            write.adr.eq(Cat(select.store.address, ~marker.half)),
            write.dat_w.eq(select.store.data),
            read.adr.eq(Cat(marker.fetch.address, marker.half)),
            read.re.eq(marker.fetch.re),
            marker.fetch.data.eq(read.dat_r),
        ]

    @staticmethod
    def cycles(n: int, parallelism: int, width: int, depth: int) -> int:
        """Cycles of a set of ``n`` values on an idle engine, first beat offered to last beat taken."""
        return _search(n, parallelism, width, depth) + -(-n // parallelism) + prefix_stages(parallelism) + 4

    @staticmethod
    def period(n: int, parallelism: int, width: int, depth: int) -> int:
        """Cycles from the first beat of a set of ``n`` values to that of the next, in the long run."""
        marking = -(-n // parallelism) + prefix_stages(parallelism) + 4
        return max(_search(n, parallelism, width, depth), marking)


def _search(n: int, parallelism: int, width: int, depth: int) -> int:
    """Cycles until the threshold is handed over."""
    words = -(-n // (word_beats(parallelism, depth) * parallelism))
    sweeps = len(digits_of(width)) - 1
    return -(-n // parallelism) + sweeps * (words + SETTLE) + COUNTING + 3
