# SPDX-License-Identifier: BSD-2-Clause
"""Which registers a reset need not reach."""

from migen.fhdl.decorators import ModuleTransformer
from migen.fhdl.tools import list_targets


class KeepPayloads(ModuleTransformer):
    """Leaves out of a module's reset what its streams carry: it counts only while ``valid``, which is reset.

    Nearly half of the bits that the engine's reset would reach are payloads, in the columns of multipliers
    and memories, where wires are scarce. LiteX does so for the other parts of an endpoint.
    """

    def transform_fragment(self, i, f):
        for statements in f.sync.values():
            for signal in list_targets(statements):
                name = signal.backtrace[-1][0]  # as LiteX's endpoints give it
                signal.reset_less |= "payload_" in name
