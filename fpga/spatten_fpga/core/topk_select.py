# SPDX-License-Identifier: BSD-2-Clause
"""Radix select: the k-th greatest of a set, found digit by digit."""

from __future__ import annotations

from functools import reduce
from operator import and_, or_

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from .topk_bins import COUNTING, DIGIT_BITS, DigitBins
from .topk_count import at_least

SWEEP_LANES = 64  # most elements of a word: bounds digits x elements counted a cycle
SETTLE = COUNTING + 1  # cycles between two sweeps: count and choose
LUT_WORDS = 32  # deepest memory that is worth LUTs


def set_layout(parallelism: int, width: int, depth: int) -> stream.EndpointDescription:
    """A set of values: beats of ``parallelism`` values, the size of the set and how many to keep."""
    size = bits_for(depth)
    return stream.EndpointDescription([("values", parallelism * width)], [("n", size), ("k", size)])


def threshold_layout(parallelism: int, width: int, depth: int) -> list[tuple[str, int]]:
    """What the search found out about a set.

    threshold : the k-th greatest value.
    ties : how many values equal to it belong to the k greatest, at least 1.
    final : number of the last beat.
    lane : last lane that holds a value in that beat.
    """
    beats = -(-depth // parallelism)
    return [
        ("threshold", width),
        ("ties", bits_for(depth)),
        ("final", bits_for(beats - 1)),
        ("lane", bits_for(parallelism - 1)),
    ]


def word_beats(parallelism: int, depth: int) -> int:
    """Beats of a word of the sweeps: three, as long as that does not exceed ``SWEEP_LANES``."""
    return max(1, min(3, SWEEP_LANES // parallelism, -(-depth // parallelism)))


def digits_of(width: int) -> list[tuple[int, int]]:
    """Digits, most significant first, as (lowest bit, bits). The first takes what is left over."""
    count = -(-width // DIGIT_BITS)
    lowest = [place * DIGIT_BITS for place in reversed(range(count))]
    return [(lowest[0], width - lowest[0]), *((bit, DIGIT_BITS) for bit in lowest[1:])]


class RadixSelect(LiteXModule):
    """Finds the k-th greatest value of a set.

    The first digit of every value is counted while the set is loaded, a beat a cycle. For each further digit
    the set is swept once, several beats a cycle, and only values that match the digits found are counted.

    Parameters
    ----------
    parallelism, width, depth : see :class:`.topk.TopK`.

    Attributes
    ----------
    sink : in, set_layout(); ``n`` and ``k`` must be there with every beat.
    source : out, threshold_layout(), one token a set. The next set is loaded after it was taken.
    store : out, where the beats go as well: ``we``, ``address`` (number of the beat), ``data``.

    Timing
    ------
    With B beats, H words and D digits the token is there ``B + (D - 1) * (H + SETTLE) + COUNTING + 2`` cycles
    after the first beat was, whatever the values are.
    """

    def __init__(self, parallelism: int, width: int, depth: int) -> None:
        beats = -(-depth // parallelism)
        self.sink = stream.Endpoint(set_layout(parallelism, width, depth))
        self.source = source = stream.Endpoint(threshold_layout(parallelism, width, depth))
        self.store = store = Record(
            [("we", 1), ("address", bits_for(beats - 1)), ("data", parallelism * width)]
        )

        # # #

        self._parallelism, self._width = parallelism, width
        self._parts = word_beats(parallelism, depth)
        self._digits = digits = digits_of(width)
        self._words = -(-beats // self._parts)
        self._accept = accept = Signal()  # a beat is loaded
        self._issue = Signal()  # a word is read
        self._beat = Signal(max=max(2, beats))
        self._word = Signal(max=max(2, self._words))
        self._part = Signal(self._parts, reset=1)  # of the word that is loaded, one bit set
        self._final_word = Signal()
        self._in_beat = Signal(parallelism)  # lanes of the beat that would hold a value if it were the last
        self._in_word = Signal(self._parts * parallelism, reset_less=True)  # lanes of the last word that do
        self._known = known = Signal(len(digits))  # digits found so far, a thermometer
        self._turn = turn = Signal(len(digits), reset=1)  # digit that is counted, one bit set

        # Order of events --------------------------------------------------------------------------
        choose = self._order()
        self._places()

        # Digits -----------------------------------------------------------------------------------
        self.bins = bins = DigitBins(self._parts * parallelism, depth)
        first = Signal(reset=1)  # the next beat is the first of a set
        self._lanes(self._memory(), bins.lanes)
        self.comb += [
            bins.load.eq(accept & first),
            bins.k.eq(self.sink.k),
            bins.choose.eq(choose),
            bins.again.eq(~turn[-1]),
            source.ties.eq(bins.ties),
            store.we.eq(accept),
            store.address.eq(self._beat),
            store.data.eq(self.sink.values),
        ]
        self.sync += [
            If(accept, first.eq(self.sink.last)),
            If(source.valid & source.ready, known.eq(0), turn.eq(1)),
            If(choose, known.eq(known << 1 | 1), turn.eq(turn << 1)),
            *(
                If(choose & turn[i], source.threshold[low : low + bits].eq(bins.digit))
                for i, (low, bits) in enumerate(digits)
            ),
        ]

    def _order(self) -> Signal:
        """Load, then a sweep for each further digit, then hand over. Gives the signal to choose a digit."""
        sink, source = self.sink, self.source
        wait = Signal(max=SETTLE)
        self.fsm = fsm = FSM(reset_state="LOAD")
        fsm.act(
            "LOAD",
            sink.ready.eq(1),
            # The sink has no memory to wait for, so a load settles a cycle earlier than a sweep.
            If(sink.valid & sink.last, NextValue(wait, SETTLE - 2), NextState("SETTLE")),
        )
        fsm.act(
            "SETTLE",
            NextValue(wait, wait - 1),
            If(wait == 0, If(self._turn[-1], NextState("HAND-OVER")).Else(NextState("SWEEP"))),
        )
        fsm.act(
            "SWEEP",
            self._issue.eq(1),
            If(self._final_word, NextValue(wait, SETTLE - 1), NextState("SETTLE")),
        )
        fsm.act(
            "HAND-OVER",
            source.valid.eq(self._known[-1]),
            If(source.valid & source.ready, NextState("LOAD")),
        )
        line = Signal(COUNTING + 3)  # the last word on its way: memory, its register, lanes, bins
        self.comb += self._accept.eq(sink.valid & sink.ready)
        self.sync += line.eq(
            Cat(self._issue & self._final_word, line[0] | (self._accept & sink.last), line[1:-1])
        )
        return line[-1]

    def _places(self) -> None:
        """Where the beat or word is, and how far the set reaches."""
        sink, source, part = self.sink, self.source, self._part
        final = Signal.like(self._word, reset_less=True)
        lane = Signal.like(source.lane)  # last lane that holds a value in the last beat
        if self._parallelism > 1:
            self.comb += lane.eq(sink.n[: len(lane)] - 1)
        self.comb += [
            self._in_beat.eq(Cat(*(at_least(lane, i) for i in range(self._parallelism)))),
            self._final_word.eq(self._word == final),
        ]
        in_word = [
            Replicate(part[s + 1 :] != 0 if s + 1 < self._parts else 0, self._parallelism)
            | (Replicate(part[s], self._parallelism) & self._in_beat)
            for s in range(self._parts)
        ]
        self.sync += [
            If(
                self._accept,
                self._beat.eq(self._beat + 1),
                part.eq(Cat(part[-1], *(part[s] for s in range(self._parts - 1)))),
                If(part[-1], self._word.eq(self._word + 1)),
                If(sink.last, self._beat.eq(0), self._word.eq(0), part.eq(1)),
            ),
            If(
                self._accept & sink.last,
                final.eq(self._word),
                source.final.eq(self._beat),
                source.lane.eq(lane),
                self._in_word.eq(Cat(*in_word)),
            ),
            If(self._issue, self._word.eq(self._word + 1), If(self._final_word, self._word.eq(0))),
        ]

    def _memory(self) -> list[Signal]:
        """Words of several beats, written a beat at a time; values of a word, registered behind the read."""
        bits = self._parallelism * self._width
        values: list[Signal] = []
        for s in range(self._parts):
            memory = Memory(bits, max(2, self._words))
            memory.attr = {("ram_style", "block" if self._words > LUT_WORDS else "distributed")}
            write = memory.get_port(write_capable=True, mode=READ_FIRST)
            read = memory.get_port(has_re=True, mode=READ_FIRST)
            self.specials += memory, write, read
            held = Signal(bits, reset_less=True)
            self.comb += [
                write.adr.eq(self._word),
                write.we.eq(self._accept & self._part[s]),
                write.dat_w.eq(self.sink.values),
                read.adr.eq(self._word),
                read.re.eq(self._issue),  # never with a write, so no logic is spent on collisions
            ]
            self.sync += held.eq(read.dat_r)
            values += [held[i * self._width : (i + 1) * self._width] for i in range(self._parallelism)]
        return values

    def _lanes(self, values: list[Signal], lanes: list[Signal]) -> None:
        """Digits to count: 0, which is in no bin, where there is no value or it does not match."""
        read, read_final = Signal(), Signal()
        usable = Signal(len(values))  # lanes of the word that hold a value
        self.sync += [
            read.eq(self._issue),
            read_final.eq(self._final_word),
            usable.eq(Replicate(read, len(values)) & (Replicate(~read_final, len(values)) | self._in_word)),
        ]
        for i, lane in enumerate(lanes):
            digit = self._swept(values[i], usable[i])
            self.sync += lane.eq(digit | self._loaded(i) if i < self._parallelism else digit)

    def _swept(self, value: Signal, usable: Signal) -> Signal:
        """Digit of a value whose turn it is, if the digits before it match the threshold."""
        matches, digit = Signal(), Signal(DIGIT_BITS)
        match = [
            ~self._known[i] | (value[low : low + bits] == self.source.threshold[low : low + bits])
            for i, (low, bits) in enumerate(self._digits[:-1])
        ]
        choices = [
            Replicate(self._turn[i], bits) & value[low : low + bits]
            for i, (low, bits) in enumerate(self._digits[1:], start=1)
        ]
        self.comb += [
            matches.eq(reduce(and_, match, usable)),
            digit.eq(reduce(or_, choices, 0) & Replicate(matches, DIGIT_BITS)),
        ]
        return digit

    def _loaded(self, i: int) -> Signal:
        """First digit of a value of the beat that is loaded, registered."""
        low, bits = self._digits[0]
        at = i * self._width + low
        digit = Signal(bits)
        counted = self._accept & (~self.sink.last | self._in_beat[i])
        self.sync += digit.eq(self.sink.values[at : at + bits] & Replicate(counted, bits))
        return digit
