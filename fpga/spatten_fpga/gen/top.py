# SPDX-License-Identifier: BSD-2-Clause
"""The top of a standalone core: registers behind a bus, device memory behind plain streams."""

from __future__ import annotations

from litex.gen import LiteXModule
from migen import ClockDomain

from spatten_fpga.core.accelerator import SpAtten
from spatten_fpga.core.port import MemoryPort

from .bus import RegisterBus
from .options import Options
from .ports import Port, stream_ports


class Standalone(LiteXModule):
    """A core that a design in any language takes in.

    Parameters
    ----------
    options : what to build.

    Attributes
    ----------
    spatten : the :class:`~spatten_fpga.core.accelerator.SpAtten` inside.
    ports : list of Port, all that leads in and out.
    """

    def __init__(self, options: Options) -> None:
        self.cd_sys = ClockDomain("sys")
        self.spatten = spatten = SpAtten(options.config, options.memory_bytes)
        self.bus = bus = RegisterBus(options.bus, spatten.get_csrs())
        self.ports = [
            Port("clk", self.cd_sys.clk, "input", "Clock of everything; rising edge."),
            Port("rst", self.cd_sys.rst, "input", "Reset, synchronous, active high."),
            *bus.ports,
            *memory_ports(spatten.memory, options.config.beat_bytes),
            Port("mem_initialised", spatten.dram_ready, "input", "Memory is initialised: STATUS.DRAM_READY."),
            Port("irq", spatten.irq, "output", "A job ended and CONTROL.IRQ_ENABLE is set: one clock high."),
        ]
        for port in self.ports:
            port.signal.name_override = port.name


def memory_ports(memory: MemoryPort, beat_bytes: int) -> list[Port]:
    """Ports of device memory: beats asked for, beats that come, beats written."""
    address = f"Address, in beats of {beat_bytes} bytes from the start of device memory."
    asked = {"valid": "A beat is asked for.", "address": address}
    given = {"valid": "The next of the beats asked for, in order.", "data": "The beat, first byte lowest."}
    written = {
        "valid": "A whole beat to write.",
        "address": address,
        "data": "The beat, first byte lowest.",
        "last": "Ends a burst.",
    }
    return [
        *stream_ports("mem_command_", memory.command, into=False, what=asked),
        *stream_ports("mem_data_", memory.data, into=True, what=given),
        *stream_ports("mem_write_", memory.write, into=False, what=written),
        Port(
            "mem_writes_pending",
            memory.writes_pending,
            "input",
            "A write that was taken may not be seen by a read yet; from the clock after it was taken on.",
        ),
        Port("mem_fault", memory.fault, "input", "Memory reports an error: one clock high ends the job."),
    ]
