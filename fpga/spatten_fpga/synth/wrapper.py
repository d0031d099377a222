# SPDX-License-Identifier: BSD-2-Clause
"""The core between shift registers, so that it fits a chip's pins and nothing is optimised away."""

from __future__ import annotations

from litex.gen import LiteXModule
from litex.gen.fhdl.verilog import convert
from migen import Cat, ClockDomain, If, Memory, Signal

from spatten_drivers.config import AcceleratorConfig
from spatten_fpga.core.core import Core
from spatten_fpga.sim.units import drivers

TOP = "top"


class Wrapper(LiteXModule):
    """A core whose inputs come out of a chain of registers and whose outputs go into one.

    Every path of the core so ends at registers, as it does in a system, and five pins are enough. What the
    chains take is a unit of its own in the tables.

    Parameters
    ----------
    config : what the core is built for.

    Attributes
    ----------
    clk, rst, si, so, load : the pins: clock, reset, serial in, serial out, take the outputs.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.cd_sys = ClockDomain("sys")
        self.clk, self.rst = Signal(name="clk"), Signal(name="rst")
        self.si, self.so, self.load = Signal(name="si"), Signal(name="so"), Signal(name="load")
        self.core = core = Core(config)

        # # #

        self.comb += self.cd_sys.clk.eq(self.clk)
        self.sync += self.cd_sys.rst.eq(self.rst)
        self._feed(_inputs(core))
        self._watch(_outputs(core))

    def _feed(self, inputs: list[Signal]) -> None:
        bits = sum(map(len, inputs))
        chain, held = Signal(bits, reset_less=True), Signal(bits, reset_less=True)
        self.sync += [chain.eq(Cat(self.si, chain)), held.eq(chain)]
        self.comb += Cat(*inputs).eq(held)

    def _watch(self, outputs: list[Signal]) -> None:
        bits = sum(map(len, outputs))
        taken, chain = Signal(bits, reset_less=True), Signal(bits, reset_less=True)
        load = Signal(reset_less=True)
        self.sync += [
            taken.eq(Cat(*outputs)),
            load.eq(self.load),
            chain.eq(Cat(0, chain)),
            If(load, chain.eq(taken)),
            self.so.eq(chain[-1]),
        ]

    @property
    def pins(self) -> set[Signal]:
        """What leaves the chip."""
        return {self.clk, self.rst, self.si, self.so, self.load}


def _inputs(core: Core) -> list[Signal]:
    memory = core.memory
    return [
        core.jobs.payload.raw_bits(),
        core.jobs.valid,
        memory.command.ready,
        memory.data.valid,
        memory.data.data,
        memory.write.ready,
        memory.writes_pending,
        memory.fault,
        core.memory_bytes,
        core.abort,
        core.expired,
        core.ends.ready,
    ]


def _outputs(core: Core) -> list[Signal]:
    memory = core.memory
    return [
        core.jobs.ready,
        memory.command.valid,
        memory.command.address,
        memory.data.ready,
        memory.write.valid,
        memory.write.address,
        memory.write.data,
        memory.write.last,
        core.ends.valid,
        core.ends.payload.raw_bits(),
    ]


def elaborate(config: AcceleratorConfig) -> tuple[str, dict[str, str]]:
    """Verilog of a core between its chains, and the unit that drives each signal and memory of it by name."""
    wrapper = Wrapper(config)
    wrapper.finalize()
    units = drivers(wrapper, "spatten_fpga")
    output = convert(wrapper, wrapper.pins, name=TOP)
    named = {
        output.ns.get_name(thing): unit for thing, unit in units.items() if isinstance(thing, Signal | Memory)
    }
    return str(output), named
