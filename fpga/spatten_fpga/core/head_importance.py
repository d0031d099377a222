# SPDX-License-Identifier: BSD-2-Clause
"""Importance of heads: the magnitude of a head's output, added to its running importance."""

from litex.gen import *
from litex.soc.interconnect.stream import Endpoint, EndpointDescription
from migen import *

from .geometry import HEAD_IMPORTANCE_BITS, HEAD_SUM_BITS, MULT_BITS, SHIFT_BITS

PRODUCT_BITS = HEAD_SUM_BITS + MULT_BITS
LOW_BITS = 25  # of the addition, which is done in two halves

# Layouts ------------------------------------------------------------------------------------------


def magnitude_layout(magnitude_bits: int) -> EndpointDescription:
    """Magnitudes of a head's outputs."""
    return EndpointDescription([("magnitude", magnitude_bits)])


def head_update_layout() -> EndpointDescription:
    """A head's old word and scale, and the rule of the job."""
    return EndpointDescription(
        [("old", HEAD_IMPORTANCE_BITS)], [("mult", MULT_BITS), ("shift", SHIFT_BITS), ("add", 1)]
    )


def head_updated_layout() -> EndpointDescription:
    """A head's new word."""
    return EndpointDescription([("new", HEAD_IMPORTANCE_BITS)])


# Head Importance ----------------------------------------------------------------------------------


class HeadImportance(LiteXModule):
    """Sums up the magnitudes of a head, then scales the sum and adds it to the running importance.

    ``new = min(2^48 - 1, old + round_shift(A * mult, shift))``; without ``add`` the old word counts as 0.
    Words of heads that are not live do not come here.

    A magnitude a cycle. After a head's last one, the sink waits for the head's ``update``; it goes on with
    the next head in the cycle after the update was accepted. The product is made and shifted bit by bit: the
    new word is offered ``20 + shift`` cycles after its update. The next update is accepted from the cycle
    after that word was taken.

    Parameters
    ----------
    magnitude_bits : width of a magnitude.

    Attributes
    ----------
    sink : in, :func:`magnitude_layout`. ``magnitude``, unsigned, units of the output; ``last`` ends a head.
    update : in, :func:`head_update_layout`. ``old``, 48 bits, units of 2^-12; ``mult``, 16 bits; ``shift``,
        0 to 47; ``add``. It is accepted once its head has ended.
    source : out, :func:`head_updated_layout`. ``new``, 48 bits; every token is ``first`` and ``last``.

    Source: contract section 6, step 3; paper section III-B.
    """

    LATENCY = MULT_BITS + 4  # and the shift

    def __init__(self, magnitude_bits: int) -> None:
        self.sink = Endpoint(magnitude_layout(magnitude_bits))
        self.update = Endpoint(head_update_layout())
        self.source = Endpoint(head_updated_layout())

        # # #

        self._sum_up()
        self._multiply()
        self._add()
        self._steps()

    # Data --------------------------------------------------------------------------------------------

    def _sum_up(self) -> None:
        """The sum of a head's magnitudes; once it is complete it stays until the update."""
        sink, update = self.sink, self.update
        self._total = total = Signal(HEAD_SUM_BITS)
        self._complete = complete = Signal()
        self.comb += sink.ready.eq(~complete)
        self.sync += [
            If(sink.valid & sink.ready, total.eq(total + sink.magnitude), complete.eq(sink.last)),
            If(update.valid & update.ready, total.eq(0), complete.eq(0)),
        ]

    def _multiply(self) -> None:
        """The product: the multiplier leaves at the bottom as the product moves in from the top."""
        self._factor = factor = Signal(HEAD_SUM_BITS, reset_less=True)
        self._product = product = Signal(PRODUCT_BITS, reset_less=True)
        self._partial = partial = Signal(HEAD_SUM_BITS + 1)
        self.comb += partial.eq(product[MULT_BITS:] + Mux(product[0], factor, 0))

    def _add(self) -> None:
        """The sum of old and new, rounded and saturated, in two halves a cycle apart."""
        source = self.source
        self._old = old = Signal(HEAD_IMPORTANCE_BITS, reset_less=True)
        self._half = half = Signal(reset_less=True)  # the bit below the units, which rounds
        self._low = low = Signal(LOW_BITS + 2)  # with that bit and the carry
        self._kept = kept = Signal(LOW_BITS + 1, reset_less=True)
        self._high = high = Signal(PRODUCT_BITS - LOW_BITS + 1, reset_less=True)
        over = Signal()
        self.comb += [
            low.eq(Cat(C(1, 1), old[:LOW_BITS]) + Cat(half, self._product[:LOW_BITS])),
            over.eq(high[HEAD_IMPORTANCE_BITS - LOW_BITS :] != 0),
            If(over, source.new.eq((1 << HEAD_IMPORTANCE_BITS) - 1)).Else(
                source.new.eq(Cat(kept[:LOW_BITS], high))
            ),
            source.first.eq(1),
            source.last.eq(1),
        ]

    # Control -----------------------------------------------------------------------------------------

    def _steps(self) -> None:
        """Waits for an update, multiplies and shifts bit by bit, then adds."""
        update, source, product, kept = self.update, self.source, self._product, self._kept
        step = Signal(max=MULT_BITS)
        shift = Signal(SHIFT_BITS, reset_less=True)
        self.fsm = fsm = FSM(reset_state="WAIT")
        fsm.act(
            "WAIT",
            update.ready.eq(self._complete),
            NextValue(self._factor, self._total),
            NextValue(product, update.mult),
            NextValue(self._old, Mux(update.add, update.old, 0)),
            NextValue(shift, update.shift),
            NextValue(self._half, 0),
            NextValue(step, MULT_BITS - 1),
            If(update.valid & self._complete, NextState("MULTIPLY")),
        )
        fsm.act(
            "MULTIPLY",
            NextValue(product, Cat(product[1:MULT_BITS], self._partial)),
            NextValue(step, step - 1),
            If(step == 0, NextState("SHIFT")),
        )
        fsm.act(
            "SHIFT",
            If(shift == 0, NextState("ADD_LOW")).Else(
                NextValue(self._half, product[0]),
                NextValue(product, product[1:]),
                NextValue(shift, shift - 1),
            ),
        )
        fsm.act("ADD_LOW", NextValue(kept, self._low[1:]), NextState("ADD_HIGH"))
        fsm.act(
            "ADD_HIGH",
            NextValue(self._high, self._old[LOW_BITS:] + product[LOW_BITS:] + kept[-1]),
            NextState("ANSWER"),
        )
        fsm.act("ANSWER", source.valid.eq(1), If(source.ready, NextState("WAIT")))
