# SPDX-License-Identifier: BSD-2-Clause
"""The reset of a design that fills a chip: few registers need it, and it walks to them."""

from litex.gen import *
from migen import *
from migen.fhdl.decorators import ModuleTransformer
from migen.fhdl.tools import list_targets


class KeepPayloads(ModuleTransformer):
    """Leaves out of the reset what streams carry, which counts only while ``valid``, and that is reset.

    Nearly half of the bits that a reset would reach are payloads, in the columns of multipliers and memories
    where wires are scarce.
    """

    def transform_fragment(self, i, f):
        for statements in f.sync.values():
            for signal in list_targets(statements):
                name = signal.backtrace[-1][0]  # as LiteX's endpoints give it
                signal.reset_less |= "payload_" in name or "param_" in name


class ResetChain(LiteXModule):
    """Carries a reset from unit to unit, a register each: a wire to all of them would cross the chip.

    It comes to a unit a cycle after the one before it, so it must be held for ``len(units) + 1`` cycles: then
    all units are in reset at once, and none hears what another said before. Units leave it one by one too,
    and must say nothing of themselves until ``reset`` is low.

    Parameters
    ----------
    units : modules, in the order in which they should lie; each loses its reset by the clock domain.

    Attributes
    ----------
    start : in, the reset.
    first : out, ``start`` a cycle later.
    reset : out, high until the last unit has left it.

    Registers of the domain ``sys`` begin with all units in reset.
    """

    def __init__(self, units):
        self.start, self.first, self.reset = Signal(), Signal(), Signal()

        # # #

        stages = Signal(len(units) + 1, reset=-1)
        self.cd_units = ClockDomain(reset_less=True)
        self.sync += stages.eq(Cat(self.start, stages))
        self.comb += [
            self.cd_units.clk.eq(ClockSignal()),
            self.first.eq(stages[0]),
            self.reset.eq(stages != 0),
        ]
        for stage, unit in enumerate(units, 1):
            ClockDomainsRenamer("units")(ResetInserter()(KeepPayloads()(unit)))
            self.comb += unit.reset.eq(stages[stage])
