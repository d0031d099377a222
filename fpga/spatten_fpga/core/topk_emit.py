# SPDX-License-Identifier: BSD-2-Clause
"""Marks the survivors of a set whose threshold is known."""

from __future__ import annotations

from functools import reduce
from operator import add

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from .topk_count import at_least
from .topk_select import threshold_layout

RADIX = 4  # blocks that a stage of the prefix count joins


def kept_layout(parallelism: int, width: int) -> list[tuple[str, int]]:
    """Values as they came, and which of them are kept."""
    return [("values", parallelism * width), ("keep", parallelism)]


def prefix_stages(parallelism: int) -> int:
    """Cycles of the prefix count inside a beat."""
    stages = 0
    while RADIX**stages < parallelism:
        stages += 1
    return stages


class SurvivorMarker(LiteXModule):
    """Reads a set in order and keeps what is above the threshold, and of what equals it the first ``ties``.

    Parameters
    ----------
    parallelism, width, depth : see :class:`.topk.TopK`.

    Attributes
    ----------
    sink : in, threshold_layout(). Taken once the last beat of the set before is at the source.
    source : out, kept_layout(), ``last`` with the last beat of a set.
    fetch : read port of the value memory: ``address`` and ``re`` out, ``data`` a cycle later.
    half : out, which half of that memory to read; changes as a set is taken.

    Timing
    ------
    A beat a cycle; the first is at the source ``5 + prefix_stages()`` cycles after the threshold was taken.
    """

    def __init__(self, parallelism: int, width: int, depth: int) -> None:
        self.sink = sink = stream.Endpoint(threshold_layout(parallelism, width, depth))
        self.source = source = stream.Endpoint(kept_layout(parallelism, width))
        beats = -(-depth // parallelism)
        self.fetch = Record([("address", bits_for(beats - 1)), ("re", 1), ("data", parallelism * width)])
        self.half = Signal()

        # # #

        self._parallelism, self._width = parallelism, width
        self._advance = advance = Signal()
        self._set = Record(threshold_layout(parallelism, width, depth), reset_less=True)
        self._left = Signal.like(sink.ties, reset_less=True)  # ties that may still be kept
        beat = Signal(max=max(2, beats))
        busy, reading, leaving = Signal(), Signal(), Signal()
        self._final = Signal()
        self.comb += advance.eq(~source.valid | source.ready)
        self._read(beat, busy, reading, leaving)
        self._mark(reading, leaving)

    def _read(self, beat: Signal, busy: Signal, reading: Signal, leaving: Signal) -> None:
        """Takes a set and reads its beats; the next set waits until the last of them is ``leaving``."""
        sink, fetch, held, final = self.sink, self.fetch, self._set, self._final
        self.comb += [
            sink.ready.eq(~busy),
            fetch.address.eq(beat),
            fetch.re.eq(self._advance),
            final.eq(beat == held.final),
        ]
        self.sync += [
            If(self._advance & reading, beat.eq(beat + 1), If(final, beat.eq(0), reading.eq(0))),
            If(leaving, busy.eq(0)),
            If(
                sink.valid & sink.ready,
                held.threshold.eq(sink.threshold),
                self.half.eq(~self.half),
                held.final.eq(sink.final),
                held.lane.eq(sink.lane),
                busy.eq(1),
                reading.eq(1),
            ),
        ]

    def _mark(self, reading: Signal, leaving: Signal) -> None:
        """Compares a beat, counts the ties before each lane, and decides, while its values go alongside."""
        source, left = self.source, self._left
        there, last, values = [reading], [self._final], [self.fetch.data]
        stages = prefix_stages(self._parallelism)
        for _ in range(3 + stages):
            there.append(self._delay(there[-1], reset_less=False))
            last.append(self._delay(last[-1]))
        for _ in range(2 + stages):
            values.append(self._delay(values[-1]))
        above, equal = self._compare(values[1], last[2])
        for _ in range(stages):
            above = self._delay(above)
        before, total, equal = self._prefix(equal)
        self.comb += leaving.eq(self._advance & there[-1] & last[-1])

        # Ties that may still be kept behind this beat: never below 0.
        spent = Signal(len(left) + 1)
        self.comb += spent.eq(left - total)
        low = bits_for(self._parallelism - 1)
        ample = Signal()
        if len(left) > low:
            self.comb += ample.eq(left[low:] != 0)
        allowed = [ample | (left[:low] > earlier) for earlier in before]
        self.sync += [
            If(
                self._advance,
                source.valid.eq(there[-1]),
                source.last.eq(last[-1]),
                source.values.eq(values[-1]),
                source.keep.eq(above | (equal & Cat(*allowed))),
                If(there[-1], left.eq(spent & Replicate(~spent[-1], len(spent)))),
            ),
            If(self.sink.valid & self.sink.ready, left.eq(self.sink.ties)),
        ]

    def _delay(self, signal: Signal, reset_less: bool = True) -> Signal:
        """The signal a pipeline stage later."""
        after = Signal(len(signal), reset_less=reset_less)
        self.sync += If(self._advance, after.eq(signal))
        return after

    def _compare(self, values: Signal, last: Signal) -> tuple[Signal, Signal]:
        """Lanes above the threshold and lanes equal to it. One stage."""
        above, equal = Signal(self._parallelism), Signal(self._parallelism)
        for i in range(self._parallelism):
            value = values[i * self._width : (i + 1) * self._width]
            inside = Signal()
            self.comb += [
                inside.eq(~last | at_least(self._set.lane, i)),
                above[i].eq((value > self._set.threshold) & inside),
                equal[i].eq((value == self._set.threshold) & inside),
            ]
        return self._delay(above), self._delay(equal)

    def _prefix(self, equal: Signal) -> tuple[list[Signal], Signal, Signal]:
        """For each lane the equal lanes before it, the equal lanes of the beat, and ``equal`` alongside."""
        before: list[Signal | Constant] = [Constant(0)] * self._parallelism
        totals = [equal[i] for i in range(self._parallelism)]
        size = 1  # lanes of a block
        while size < self._parallelism:
            joined = [totals[i : i + RADIX] for i in range(0, len(totals), RADIX)]
            for i in range(self._parallelism):
                block = i // size
                earlier = joined[block // RADIX][: block % RADIX]
                before[i] = self._summed([before[i], *earlier], i)
            size *= RADIX
            totals = [self._summed(blocks, min(size, self._parallelism)) for blocks in joined]
            equal = self._delay(equal)
        return before, totals[0], equal

    def _summed(self, terms: list[Signal], most: int) -> Signal | Constant:
        """Registered sum that is at most ``most``."""
        terms = [term for term in terms if not isinstance(term, Constant)]
        if not terms:
            return Constant(0)
        total = Signal(bits_for(most), reset_less=True)
        self.sync += If(self._advance, total.eq(reduce(add, terms)))
        return total
