# SPDX-License-Identifier: BSD-2-Clause
"""Board memory in simulation: LiteDRAM's own controller, and chips whose cells are the bench's memory.

The controller is the one that goes into the bitstream, with its bank machines, row activations, bus
turnarounds and refreshes; only PHY and chips are replaced, by what they are in cycles: data a fixed time
after a read command, taken a fixed time after a write command.
"""

from __future__ import annotations

from litedram import modules
from litedram.common import PhySettings
from litedram.core.controller import ControllerSettings, LiteDRAMController
from litedram.core.crossbar import LiteDRAMCrossbar
from litedram.phy.ecp5ddrphy import ECP5DDRPHY
from litedram.phy.gensdrphy import GENSDRPHY
from litex.gen import LiteXModule
from litex.soc.interconnect import stream
from migen import Array, Cat, If, Record, Signal, log2_int

from spatten_fpga.soc.memory import MT41K256M16


def ecp5_settings(module: modules.SDRAMModule, clock: float, bits: int) -> PhySettings:
    """What LiteDRAM's PHY for the ECP5 tells its controller, for memory of so many data lines."""
    geometry = module.geom_settings
    wires = {"a": geometry.addressbits, "ba": geometry.bankbits, "dq": bits, "dm": bits // 8}
    pads = Record(
        [*wires.items(), ("dqs_p", bits // 8), *((n, 1) for n in ("clk_p", "ras_n", "cas_n", "we_n"))]
    )
    return ECP5DDRPHY(pads, sys_clk_freq=clock).settings


def sdr_settings(module: modules.SDRAMModule, clock: float, bits: int) -> PhySettings:
    """What LiteDRAM's PHY for SDRAM tells its controller, for memory of so many data lines."""
    geometry = module.geom_settings
    wires = {"a": geometry.addressbits, "ba": geometry.bankbits, "dq": bits}
    pads = Record([*wires.items(), *((n, 1) for n in ("ras_n", "cas_n", "we_n"))])
    return GENSDRPHY(pads, sys_clk_freq=clock).settings


class Cells(LiteXModule):
    """DRAM chips at a DFI whose cells are the memory of a bench.

    Whole words are read; of a word that is written, the bytes in ``write_bytes`` are. The streams must be
    taken at once and data must come ``latency`` cycles after its command: a bench of pace 1.

    Parameters
    ----------
    dfi : from the controller.
    settings, columns : of the PHY; address bits of a column.

    Attributes
    ----------
    command, data, write : Endpoint, out, in, out: ``address`` of a word read, ``data``, ``address`` and
        ``data`` of a word written. Addresses are those of the controller's mapping ``ROW_BANK_COL``.
    write_bytes : Signal, out: which bytes of the word written are to be taken. The core writes whole words.
    latency : cycles from a command to its data.
    moves : Signal, out: a word is read or written; it takes the data lines for ``tCCD``.
    """

    def __init__(self, dfi, settings: PhySettings, columns: int) -> None:
        width = settings.dfi_databits * settings.nphases
        burst = log2_int(width // settings.databits)
        phases, banks = dfi.phases, len(dfi.phases[0].bank)
        bits = len(phases[0].address) + banks + columns - burst
        self.command = command = stream.Endpoint([("address", bits)])
        self.data = data = stream.Endpoint([("data", width)])
        self.write = write = stream.Endpoint([("address", bits), ("data", width)])
        self.write_bytes = Signal(width // 8)
        self.latency = settings.read_latency
        self.moves = Signal()

        # # #

        rows = Array(Signal(len(phases[0].address), name=f"row_{bank}") for bank in range(2**banks))
        address, written = Signal(bits), Signal()
        for phase in phases:
            activate, column = Signal(), Signal()
            self.comb += [
                activate.eq(~phase.cs_n & ~phase.ras_n & phase.cas_n & phase.we_n),
                column.eq(~phase.cs_n & phase.ras_n & ~phase.cas_n),
                If(
                    column,
                    address.eq(Cat(phase.address[burst:columns], phase.bank, rows[phase.bank])),
                    command.valid.eq(phase.we_n),
                    written.eq(~phase.we_n),
                ),
            ]
            self.sync += If(activate, rows[phase.bank].eq(phase.address))
        self.comb += [
            command.address.eq(address),
            self.moves.eq(command.valid | written),
            data.ready.eq(1),
            Cat(*(phase.rddata for phase in phases)).eq(data.data),
            write.data.eq(Cat(*(phase.wrdata for phase in phases))),
            self.write_bytes.eq(~Cat(*(phase.wrdata_mask for phase in phases))),
        ]
        for _ in range(settings.write_latency):
            later, place = Signal(), Signal(bits)
            self.sync += [later.eq(written), place.eq(address)]
            written, address = later, place
        self.comb += [write.valid.eq(written), write.address.eq(address)]


class BoardMemory(LiteXModule):
    """Memory of the ECPIX-5: 16 lines of DDR3 at four transfers a cycle, a word of 128 bits every other one.

    Parameters
    ----------
    clock : of the system, Hz.

    Attributes
    ----------
    crossbar : LiteDRAM's; a back end asks it for its port.
    cells : :class:`Cells`.
    """

    LINES = 16

    def __init__(self, clock: float = 75e6) -> None:
        module = MT41K256M16(clock, "1:2")
        settings = ecp5_settings(module, clock, self.LINES)
        self.controller = controller = LiteDRAMController(
            settings, module.geom_settings, module.timing_settings, clock, ControllerSettings()
        )
        self.crossbar = LiteDRAMCrossbar(controller.interface)
        self.cells = Cells(controller.dfi, settings, module.geom_settings.colbits)
        self.word_cycles = module.timing_settings.tCCD
