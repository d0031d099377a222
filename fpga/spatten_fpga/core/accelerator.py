# SPDX-License-Identifier: BSD-2-Clause
"""The core behind its registers: what a system on chip takes in."""

from __future__ import annotations

from litex.gen import *
from migen import *

from spatten_drivers import AcceleratorConfig

from .core import Core
from .registers import ControlRegisters


class SpAtten(LiteXModule):
    """SpAtten as a host sees it: registers, a port to device memory, an interrupt.

    A LiteX system takes it in as ``soc.spatten = SpAtten(config, memory_bytes)``: its registers become CSRs
    with the prefix ``spatten_``.

    Parameters
    ----------
    config : AcceleratorConfig it is built for.
    memory_bytes : size of device memory.

    Attributes
    ----------
    memory : the :class:`.port.MemoryPort`; addresses count beats from the start of device memory.
    dram_ready : Signal, in: device memory is initialised.
    irq : Signal, out: a job ended and ``IRQ_ENABLE`` is set; a pulse of one cycle.

    Source: contract, sections 9 to 11.
    """

    def __init__(self, config: AcceleratorConfig, memory_bytes: int) -> None:
        self.registers = registers = ControlRegisters(config, memory_bytes)
        self.core = core = Core(config)
        self.memory = core.memory
        self.dram_ready = registers.dram_ready
        self.irq = registers.irq

        # # #

        self.comb += [
            core.memory_bytes.eq(memory_bytes),
            registers.jobs.connect(core.jobs),
            core.abort.eq(registers.abort),
            core.expired.eq(registers.expired),
            core.ends.ready.eq(1),
            registers.ended.eq(core.ends.valid),
            registers.ended_id.eq(core.ends.job_id),
            registers.ended_status.eq(core.ends.status),
        ]

    def get_csrs(self, sort: bool = False) -> list:
        """The registers in the order of the table, without a prefix of their own."""
        return self.registers.get_csrs(sort)
