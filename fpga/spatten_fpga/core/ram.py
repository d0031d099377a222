# SPDX-License-Identifier: BSD-2-Clause
"""Memories whose readers and writers keep out of each other's way."""

from migen import Memory

#: What yosys calls it: a read may give anything while its cell is written. The bench looks for it, too.
NO_COLLISION = "no_rw_check"


class SharedMemory(Memory):
    """A memory of which no cell is read, and the data used, in the cycle in which it is written.

    Block RAM gives anything in that case. Without the promise synthesis adds a register for all that is
    written and a multiplexer for all that is read, 3,000 LUTs for the operands of 64 lanes. The bench gives
    wrong bits where the promise is broken (:mod:`spatten_fpga.sim.collisions`), so every simulation tests it.
    """

    def __init__(self, width, depth):
        super().__init__(width, depth)
        self.attr = {(NO_COLLISION, 1)}
