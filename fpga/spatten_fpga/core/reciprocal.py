# SPDX-License-Identifier: BSD-2-Clause
"""The reciprocal of a row's sum of weights."""

from litex.gen import *
from litex.soc.interconnect.stream import Endpoint, EndpointDescription
from migen import *

from .geometry import RECIPROCAL_BITS, SUM_BITS

Z_BITS = 4  # z
FACTOR_BITS = RECIPROCAL_BITS + 3  # w
LEAST_SHIFT = 33  # R = floor(2^(33 + z) / S)

# Layouts ------------------------------------------------------------------------------------------


def sum_layout() -> EndpointDescription:
    """Sum of a row's weights."""
    return EndpointDescription([("sum", SUM_BITS)])


def reciprocal_layout() -> EndpointDescription:
    """Reciprocal of the sum, its exponent, and the factor that turns a weight into importance."""
    return EndpointDescription([("reciprocal", RECIPROCAL_BITS), ("z", Z_BITS), ("gain", FACTOR_BITS)])


# Reciprocal ---------------------------------------------------------------------------------------


class Reciprocal(LiteXModule):
    """Divides ``2^(33 + z)`` by the sum ``S`` of a row, a quotient bit a cycle; ``z = max(0, bits(S) - 17)``.

    All bits of the dividend below its first are 0 and the quotient ``R`` has 18 bits, so the division starts
    with the remainder ``2^(15 + z)``, which is below ``S``.

    The answer is offered 21 cycles after its sum was taken, and the next sum is taken from the cycle after
    the answer was: a row in 22 cycles.

    Attributes
    ----------
    sink : in, :func:`sum_layout`. ``sum``, 26 bits, 65535 or more.
    source : out, :func:`reciprocal_layout`. ``reciprocal`` R, 18 bits; ``z``, 0 to 9; ``gain``, 21 bits:
        ``w = (8 * R) >> z``; every token is ``first`` and ``last``.

    Source: contract sections 5, step 3, and 6, step 1.
    """

    LATENCY = RECIPROCAL_BITS + 3

    def __init__(self) -> None:
        self.sink = sink = Endpoint(sum_layout())
        self.source = source = Endpoint(reciprocal_layout())

        # # #

        divisor = Signal(SUM_BITS, reset_less=True)
        remainder = Signal(SUM_BITS, reset_less=True)
        quotient = Signal(RECIPROCAL_BITS, reset_less=True)
        z = Signal(Z_BITS, reset_less=True)
        step = Signal(max=RECIPROCAL_BITS)

        # Exponent of the Sum ----------------------------------------------------------------------
        exponent = Signal(Z_BITS)
        start = Signal(SUM_BITS)
        least = LEAST_SHIFT - RECIPROCAL_BITS
        self.comb += start.eq(1 << least)
        for bit in range(17, SUM_BITS):  # the last assignment holds: that of the highest bit
            self.comb += If(divisor[bit], exponent.eq(bit - 16), start.eq(1 << (least + bit - 16)))

        # Step of the Division ---------------------------------------------------------------------
        twice = Signal(SUM_BITS + 1)
        left = Signal(SUM_BITS + 2)
        fits = Signal()
        self.comb += [
            twice.eq(Cat(C(0, 1), remainder)),
            left.eq(twice - divisor),
            fits.eq(~left[-1]),
        ]

        # Control ----------------------------------------------------------------------------------
        self.fsm = fsm = FSM(reset_state="WAIT")
        fsm.act(
            "WAIT",
            sink.ready.eq(1),
            NextValue(divisor, sink.sum),
            If(sink.valid, NextState("SCALE")),
        )
        fsm.act(
            "SCALE",
            NextValue(z, exponent),
            NextValue(remainder, start),
            NextValue(step, RECIPROCAL_BITS - 1),
            NextState("DIVIDE"),
        )
        fsm.act(
            "DIVIDE",
            NextValue(quotient, Cat(fits, quotient)),
            NextValue(remainder, Mux(fits, left, twice)),
            NextValue(step, step - 1),
            If(step == 0, NextState("GAIN")),
        )
        fsm.act(
            "GAIN",
            NextValue(source.gain, Cat(C(0, 3), quotient) >> z),
            NextState("ANSWER"),
        )
        fsm.act("ANSWER", source.valid.eq(1), If(source.ready, NextState("WAIT")))
        self.comb += [
            source.reciprocal.eq(quotient),
            source.z.eq(z),
            source.first.eq(1),
            source.last.eq(1),
        ]
