# SPDX-License-Identifier: BSD-2-Clause
"""The softmax weight ``e = 2^-x`` of a score distance, in fixed point."""

from functools import reduce
from itertools import pairwise
from operator import or_

from litex.gen import *
from litex.soc.interconnect.stream import Endpoint, EndpointDescription, PipelinedActor
from migen import *

from spatten_drivers.exp2 import SEGMENTS

from .geometry import EXPONENT_LIMIT, MULT_BITS, SHIFT_BITS, WEIGHT_BITS

EXPONENT_BITS = EXPONENT_LIMIT.bit_length()  # x
FRACTION_BITS = 12  # of x
SEGMENT_BITS = 6  # of the fraction: the place in a segment
HALF_BITS = 18  # an operand of a DSP block

# Layouts ------------------------------------------------------------------------------------------


def weight_sink_layout(lanes: int, distance_bits: int) -> EndpointDescription:
    """Distances to the row's maximum, and the head's scale."""
    return EndpointDescription(
        [("distances", lanes * distance_bits), ("count", bits_for(lanes))],
        [("mult", MULT_BITS), ("shift", SHIFT_BITS)],
    )


def weights_layout(lanes: int) -> EndpointDescription:
    """Weights of a row, lanes from ``count`` on 0."""
    return EndpointDescription([("weights", lanes * WEIGHT_BITS), ("count", bits_for(lanes))])


# Helpers ------------------------------------------------------------------------------------------


def delayed(module: Module, signal: Signal, cycles: int, reset_less: bool = True) -> Signal:
    """The signal ``cycles`` registers later. Flags that start something must not be ``reset_less``."""
    for _ in range(cycles):
        register = Signal.like(signal, reset_less=reset_less)
        module.sync += register.eq(signal)
        signal = register
    return signal


def shifted(value: Signal, amount: Signal, step: int):
    """``value >> step * amount`` for a two-bit ``amount``: one level of a barrel shifter."""
    return Mux(
        amount[1],
        Mux(amount[0], value >> 3 * step, value >> 2 * step),
        Mux(amount[0], value >> step, value),
    )


# Exponent -----------------------------------------------------------------------------------------


class _Exponent(LiteXModule):
    """``x = round_shift(distance * mult, shift)`` of one lane; ``zero`` where that is 69632 or more.

    What is shifted keeps one fraction bit, the one that rounds. It is cut to 18 bits on the way: from a level
    on that has a bit set where the rest of the shift cannot bring it below, the weight is 0.
    Latency is 7 cycles.

    Parameters
    ----------
    distance, mult : in, unsigned, 19 to 36 and up to 18 bits.
    valid : in, the lane holds a key.
    amount : in, ``shift - 1``; it comes with the product, 3 cycles after the distance.

    Attributes
    ----------
    x : out, the exponent in units of 2^-12.
    zero : out, the weight is 0, whatever ``x`` says.
    """

    LATENCY = 7

    def __init__(self, distance: Signal, mult: Signal, valid: Signal, amount: Signal) -> None:
        self.x = Signal(EXPONENT_BITS, reset_less=True)
        self.zero = Signal(reset_less=True)

        # # #

        product = self._product(distance, mult)
        middle_amount = delayed(self, amount[2:4], 1)
        fine_amount = delayed(self, amount[0:2], 2)

        # Shift ------------------------------------------------------------------------------------
        window = EXPONENT_BITS + 1  # x and the bit that rounds
        coarse = Signal(len(product), reset_less=True)
        middle = Signal(window + 15, reset_less=True)  # up to 15 more places to go
        fine = Signal(window + 3, reset_less=True)
        over_middle = Signal(reset_less=True)
        over_fine = Signal(reset_less=True)
        self.sync += [
            coarse.eq(shifted(product, amount[4:6], 16)),
            middle.eq(shifted(coarse[: len(middle)], middle_amount, 4)),
            over_middle.eq(reduce(or_, coarse[len(middle) :])),
            fine.eq(shifted(middle[: len(fine)], fine_amount, 1)),
            over_fine.eq(over_middle | reduce(or_, middle[len(fine) :])),
        ]

        # Round ------------------------------------------------------------------------------------
        self.sync += [
            self.x.eq(fine[1:] + fine[0]),
            self.zero.eq(
                over_fine | (fine >= 2 * EXPONENT_LIMIT - 1) | ~delayed(self, valid, self.LATENCY - 1)
            ),
        ]

    def _product(self, distance: Signal, mult: Signal) -> Signal:
        """``distance * mult`` in two DSP blocks, 3 cycles later."""
        halves = [Signal.like(half, reset_less=True) for half in (distance[:HALF_BITS], distance[HALF_BITS:])]
        factor = Signal.like(mult, reset_less=True)
        low = Signal(HALF_BITS + len(mult), reset_less=True)
        high = Signal(len(halves[1]) + len(mult), reset_less=True)
        product = Signal(len(distance) + len(mult), reset_less=True)
        self.sync += [
            halves[0].eq(distance[:HALF_BITS]),
            halves[1].eq(distance[HALF_BITS:]),
            factor.eq(mult),
            low.eq(halves[0] * factor),
            high.eq(halves[1] * factor),
            product[:HALF_BITS].eq(low[:HALF_BITS]),
            product[HALF_BITS:].eq(high + low[HALF_BITS:]),
        ]
        return product


# Power --------------------------------------------------------------------------------------------


class _Power(LiteXModule):
    """``e = 2^-x`` of one lane: a table of 64 segments, a line within a segment, a shift.

    Latency is 6 cycles.

    Parameters
    ----------
    x : in, the exponent, below 69632.
    zero : in, the weight is 0 instead.

    Attributes
    ----------
    weight : out, 16 bits, unsigned.
    """

    LATENCY = 6

    def __init__(self, x: Signal, zero: Signal) -> None:
        self.weight = Signal(WEIGHT_BITS, reset_less=True)

        # # #

        # Table ------------------------------------------------------------------------------------
        table = [int(border) for border in SEGMENTS]
        slopes = [a - b for a, b in pairwise(table)]
        start = Signal(WEIGHT_BITS, reset_less=True)
        slope = Signal(max=max(slopes) + 1, reset_less=True)
        self.sync += Case(
            x[SEGMENT_BITS:FRACTION_BITS],
            {i: [start.eq(table[i]), slope.eq(fall)] for i, fall in enumerate(slopes)},
        )

        # Line -------------------------------------------------------------------------------------
        drop = Signal(len(slope) + SEGMENT_BITS, reset_less=True)
        twice = Signal(WEIGHT_BITS + 1, reset_less=True)
        self.sync += [
            drop.eq(slope * delayed(self, x[:SEGMENT_BITS], 1)),
            # start - round_shift(drop, 6), in halves: so the bit that rounds is part of one subtraction.
            twice.eq(Cat(C(0, 1), delayed(self, start, 1)) - drop[SEGMENT_BITS - 1 :]),
        ]

        # Shift ------------------------------------------------------------------------------------
        octaves = delayed(self, x[FRACTION_BITS:], 3)
        mantissa = Cat(C(0, 1), twice[1:])  # and a bit to round by
        value = Signal(WEIGHT_BITS + 1)
        coarse = Signal(WEIGHT_BITS + 1, reset_less=True)
        fine = Signal(WEIGHT_BITS + 1, reset_less=True)
        self.comb += value.eq(mantissa)
        self.sync += [
            coarse.eq(Mux(octaves[4], value >> 16, shifted(value, octaves[2:4], 4))),
            fine.eq(shifted(coarse, delayed(self, octaves[:2], 1), 1)),
            self.weight.eq(Mux(delayed(self, zero, self.LATENCY - 1), 0, fine[1:] + fine[0])),
        ]


# Unit ---------------------------------------------------------------------------------------------


class _Lanes(LiteXModule):
    """All lanes of the unit, without back-pressure."""

    LATENCY = _Exponent.LATENCY + _Power.LATENCY

    def __init__(self, lanes: int, distance_bits: int, sink: Endpoint, source: Endpoint) -> None:
        amount = Signal(SHIFT_BITS, reset_less=True)
        self.sync += amount.eq(sink.shift - 1)
        amount = delayed(self, amount, 2)
        for lane in range(lanes):
            distance = sink.distances[lane * distance_bits : (lane + 1) * distance_bits]
            exponent = _Exponent(distance, sink.mult, lane < sink.count, amount)
            power = _Power(exponent.x, exponent.zero)
            self.submodules += exponent, power
            self.comb += source.weights[lane * WEIGHT_BITS : (lane + 1) * WEIGHT_BITS].eq(power.weight)
        self.comb += source.count.eq(delayed(self, sink.count, self.LATENCY))


class WeightUnit(PipelinedActor):
    """Turns distances to the row's maximum into 16-bit weights ``2^-x``, a word of keys a cycle.

    ``x = min(round_shift(distance * mult, shift), 69632)`` has 12 fraction bits; ``2^-x`` comes from a table
    of 64 segments of an octave, a line within the segment, and a rounded shift by whole octaves. A distance
    of 0 gives 65535. ``mult`` and ``shift`` travel with the word, so the next head may follow at once.

    Latency is 13 cycles. A word a cycle; all registers wait while a word is not taken.

    Parameters
    ----------
    lanes : keys of a word, W.
    distance_bits : width of a distance, 19 to 36.

    Attributes
    ----------
    sink : in, :func:`weight_sink_layout`. ``distances``, lane ``i`` from bit ``i * distance_bits``, unsigned;
        ``count`` valid lanes, 1 to W; ``mult``, 16 bits; ``shift``, 1 to 48; ``last`` is passed on.
    source : out, :func:`weights_layout`. ``weights``, lane ``i`` from bit ``16 * i``, unsigned, 0 in lanes
        that are not valid; ``count`` and ``last`` as they came.

    Source: contract section 4, steps 3 and 4; paper section IV-C, Fig. 8 (softmax).
    """

    LATENCY = _Lanes.LATENCY

    def __init__(self, lanes: int, distance_bits: int) -> None:
        self.sink = sink = Endpoint(weight_sink_layout(lanes, distance_bits))
        self.source = source = Endpoint(weights_layout(lanes))

        # # #

        PipelinedActor.__init__(self, self.LATENCY)
        self.lanes = CEInserter()(_Lanes(lanes, distance_bits, sink, source))
        self.comb += self.lanes.ce.eq(self.pipe_ce)
