# SPDX-License-Identifier: BSD-2-Clause
"""Accumulators of a row become its output: multiplied by the reciprocal, rounded, saturated."""

from litex.gen import *
from litex.soc.interconnect.stream import Endpoint, EndpointDescription, PipelinedActor
from migen import *

from .geometry import OUTPUT_BITS, RECIPROCAL_BITS
from .reciprocal import Z_BITS
from .weight import HALF_BITS, delayed, shifted

FO_BITS = 4  # fo
LARGEST_FO = 12  # the narrowest value has 4 bits
LEAST_SHIFT = 33 - LARGEST_FO  # what every product is shifted right by
LOST_BITS = 9  # bits of an accumulator less those of round_shift(acc, z)

# Layouts ------------------------------------------------------------------------------------------


def accumulators_layout(lanes: int, accumulator_bits: int) -> EndpointDescription:
    """Accumulators of a row, and what the row is to be multiplied by."""
    return EndpointDescription(
        [("accumulators", lanes * accumulator_bits)],
        [("reciprocal", RECIPROCAL_BITS), ("z", Z_BITS), ("fo", FO_BITS)],
    )


def outputs_layout(lanes: int) -> EndpointDescription:
    """Elements of an output row and the sum of their magnitudes."""
    return EndpointDescription([("outputs", lanes * OUTPUT_BITS), ("magnitude", magnitude_bits(lanes))])


def magnitude_bits(lanes: int) -> int:
    """Width of the sum of ``lanes`` magnitudes of up to 32768."""
    return bits_for(lanes << (OUTPUT_BITS - 1))


# Product ------------------------------------------------------------------------------------------


class _Product(LiteXModule):
    """A signed number times an unsigned one in two unsigned DSP blocks. Latency is 3 cycles.

    An unsigned 18-bit factor does not fit a signed 18-bit operand. So the two's complement pattern is
    multiplied, and where the number is negative, ``factor << bits`` too much is taken off again.

    Parameters
    ----------
    number : in, signed, 19 to 36 bits, a register.
    factor : in, unsigned, 18 bits at most, a register.

    Attributes
    ----------
    product : out, signed, as wide as both.
    """

    LATENCY = 3

    def __init__(self, number: Signal, factor: Signal) -> None:
        self.product = Signal((len(number) + len(factor), True), reset_less=True)

        # # #

        pattern = Signal(len(number))
        upper = len(number) - HALF_BITS
        low = Signal(HALF_BITS + len(factor), reset_less=True)
        high = Signal(upper + len(factor), reset_less=True)
        excess = Signal(len(factor), reset_less=True)
        high_signed = Signal((upper + len(factor), True), reset_less=True)
        low_delayed = delayed(self, low, 1)
        self.comb += pattern.eq(number)
        self.sync += [
            low.eq(pattern[:HALF_BITS] * factor),
            high.eq(pattern[HALF_BITS:] * factor),
            excess.eq(Mux(pattern[-1], factor, 0)),
            high_signed[:upper].eq(high[:upper]),
            high_signed[upper:].eq(high[upper:] - excess),
            self.product.eq(Cat(low_delayed[:HALF_BITS], self._upper(high_signed, low_delayed))),
        ]

    def _upper(self, high_signed: Signal, low: Signal) -> Signal:
        """The product from bit 18 on. It has the width of ``high_signed``: the whole fits its bits."""
        upper = Signal((len(high_signed), True))
        self.comb += upper.eq(high_signed + low[HALF_BITS:])
        return upper


# Lane ---------------------------------------------------------------------------------------------


class _Lane(LiteXModule):
    """``saturate16(round_shift(round_shift(acc, z) * R, 33 - fo))`` of one lane, and its magnitude.

    What is shifted keeps one fraction bit, the one that rounds. Latency is 12 cycles.

    Parameters
    ----------
    accumulator : in, signed.
    z : in, a cycle after the accumulator.
    factor : in, R, 4 cycles after the accumulator.
    amount : in, ``12 - fo``, 7 cycles after the accumulator.

    Attributes
    ----------
    output : out, 16 bits, signed.
    magnitude : out, 16 bits, 0 to 32768.
    """

    LATENCY = 12

    def __init__(self, accumulator: Signal, z: Signal, factor: Signal, amount: Signal) -> None:
        self.output = Signal((OUTPUT_BITS, True), reset_less=True)
        self.magnitude = Signal(OUTPUT_BITS, reset_less=True)

        # # #

        # Mantissa ---------------------------------------------------------------------------------
        bits = len(accumulator)
        taken = Signal((bits + 1, True), reset_less=True)
        coarse = Signal((bits + 1, True), reset_less=True)
        fine = Signal((bits + 2 - LOST_BITS, True), reset_less=True)
        mantissa = Signal((bits - LOST_BITS, True), reset_less=True)
        self.sync += [
            taken.eq(Cat(C(0, 1), accumulator)),
            coarse.eq(shifted(taken, z[2:4], 4)),
            fine.eq(shifted(coarse, delayed(self, z[0:2], 1), 1)),
            mantissa.eq(self._rounded(fine)),
        ]

        # Product ----------------------------------------------------------------------------------
        self.product = _Product(mantissa, factor)

        # Output -----------------------------------------------------------------------------------
        scaled = Signal((len(self.product.product) - (LEAST_SHIFT - 1), True))
        coarse_output = Signal.like(scaled, reset_less=True)
        fine_output = Signal.like(scaled, reset_less=True)
        rounded = Signal((len(scaled), True), reset_less=True)
        output = Signal((OUTPUT_BITS, True), reset_less=True)
        sign = rounded[-1]
        self.comb += scaled.eq(self.product.product[LEAST_SHIFT - 1 :])
        self.sync += [
            coarse_output.eq(shifted(scaled, amount[2:4], 4)),
            fine_output.eq(shifted(coarse_output, delayed(self, amount[0:2], 1), 1)),
            rounded.eq(self._rounded(fine_output)),
            If(
                rounded[OUTPUT_BITS - 1 :] == Replicate(sign, len(rounded) - OUTPUT_BITS + 1),
                output.eq(rounded),
            ).Else(output.eq(Cat(Replicate(~sign, OUTPUT_BITS - 1), sign))),
            self.output.eq(output),
            self.magnitude.eq(Mux(output[-1], -output, output)),
        ]

    def _rounded(self, value: Signal) -> Signal:
        """Half of the value, half rounded up. The value is not the largest its width holds."""
        half = Signal((len(value) - 1, True))
        self.comb += half.eq(value[1:] + value[0])
        return half


# Unit ---------------------------------------------------------------------------------------------


class _Lanes(LiteXModule):
    """All lanes of the unit, without back-pressure."""

    def __init__(self, lanes: int, accumulator_bits: int, sink: Endpoint, source: Endpoint) -> None:
        z = delayed(self, sink.z, 1)
        factor = delayed(self, sink.reciprocal, 4)
        amount = Signal(FO_BITS, reset_less=True)
        self.sync += amount.eq(LARGEST_FO - sink.fo)
        amount = delayed(self, amount, 6)
        outputs, magnitudes = [], []
        for i in range(lanes):
            accumulator = sink.accumulators[i * accumulator_bits : (i + 1) * accumulator_bits]
            lane = _Lane(accumulator, z, factor, amount)
            self.submodules += lane
            outputs.append(lane.output)
            magnitudes.append(lane.magnitude)
        self.comb += [
            source.outputs.eq(delayed(self, Cat(*outputs), (lanes - 1).bit_length())),
            source.magnitude.eq(self._sum(magnitudes)),
        ]

    def _sum(self, terms: list[Signal]) -> Signal:
        """Sum of the terms, in one register level for each halving."""
        while len(terms) > 1:
            following = []
            for pair in (terms[i : i + 2] for i in range(0, len(terms), 2)):
                total = Signal(len(pair[0]) + 1, reset_less=True)
                self.sync += total.eq(sum(pair))
                following.append(total)
            terms = following
        return terms[0]


class Normalise(PipelinedActor):
    """Turns the accumulators of a row into its 16-bit output, some elements a cycle.

    ``o = saturate16(round_shift(round_shift(acc, z) * R, 33 - fo))``. What ``z`` is made for holds, so that
    the inner number fits 9 bits less than an accumulator: ``|acc| <= S * 2^(operand_bits - 1)``.

    Latency is ``12 + ceil(log2(lanes))`` cycles. A word a cycle; all registers wait while one is not taken.

    Parameters
    ----------
    lanes : elements of a word, O.
    accumulator_bits : width of an accumulator, 28 to 45.

    Attributes
    ----------
    sink : in, :func:`accumulators_layout`. ``accumulators``, signed, lane ``i`` from bit
        ``i * accumulator_bits``; ``reciprocal`` R, 18 bits; ``z``, 0 to 9; ``fo``, 0 to 12: 16 less the bits
        of a value; ``last`` is passed on.
    source : out, :func:`outputs_layout`. ``outputs``, signed, lane ``i`` from bit ``16 * i``;
        ``magnitude``, the sum of ``|o|`` over the lanes; ``last`` as it came.
    latency : cycles.

    Source: contract section 5, step 4, and section 6, step 3.
    """

    def __init__(self, lanes: int, accumulator_bits: int) -> None:
        self.sink = sink = Endpoint(accumulators_layout(lanes, accumulator_bits))
        self.source = source = Endpoint(outputs_layout(lanes))

        # # #

        PipelinedActor.__init__(self, _Lane.LATENCY + (lanes - 1).bit_length())
        self.lanes = CEInserter()(_Lanes(lanes, accumulator_bits, sink, source))
        self.comb += self.lanes.ce.eq(self.pipe_ce)
