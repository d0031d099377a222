# SPDX-License-Identifier: BSD-2-Clause
"""The optional processor: SERV with LiteX's own BIOS, and a console that a host reads.

SERV works a bit at a time: 0.7k LUT, and some 35 clocks an instruction. Nothing of SpAtten runs on it: it
levels and tests DRAM at power-on without a host, and says so in ``ddrctrl``, which releases the core.
"""

from __future__ import annotations

from typing import Any

from litedram.common import PhySettings
from litex.gen import LiteXModule
from litex.soc.integration.soc import SoCRegion
from litex.soc.interconnect import stream, wishbone
from litex.soc.interconnect.csr import CSRStatus
from migen import If, Memory, Signal

from spatten_drivers.errors import ConfigError

CPU = "serv"
NO_CPU = "none"
#: Of LiteX's ``SoCCore``. The ROM shrinks to what the BIOS takes, 29 KiB; the UART leads to the console.
OPTIONS = {
    "integrated_rom_size": 0x10000,
    "integrated_sram_size": 0x2000,
    "with_uart": True,
    "uart_name": "stub",  # LiteX's name of a UART without pins
}
#: Bytes of memory that the BIOS tests, the least with which it tests address lines too, LiteX's ``memtest.c``
#: says: a second of SERV. LiteX's own two megabytes would take it most of a minute.
TESTED_BYTES = 1 << 16
CONSOLE_BYTES = 4096


def processor_for(settings: PhySettings) -> str | None:
    """The processor for a board with such a PHY: one where its DRAM needs levelling, none elsewhere."""
    return CPU if settings.read_leveling or settings.write_leveling else None


def chosen_processor(asked: str | None, settings: PhySettings, board: str) -> str | None:
    """The processor that is asked for, none for :data:`NO_CPU`; the usual one of such a PHY unless asked.

    ``board`` is what an error calls it.

    Raises
    ------
    ConfigError : one is asked for where memory needs none.
    """
    if asked == NO_CPU:
        return None
    usual = processor_for(settings)
    if asked is not None and usual is None:
        raise ConfigError(f"{board} needs no processor: its memory is not levelled. Leave --cpu-type out")
    return usual if asked is None else asked


def options_for(cpu_type: str | None) -> dict[str, Any]:
    """What ``SoCCore`` is told because of its processor."""
    return OPTIONS if cpu_type is not None else {"with_uart": False, "integrated_sram_size": 0}


class Console(LiteXModule):
    """The last characters that the processor's software wrote, as memory that a host may read at any time.

    Reading takes nothing away, so a link may repeat it, and the processor never waits for a reader.

    Attributes
    ----------
    sink : characters; always taken.
    bus : the memory. Character ``n`` since reset is byte ``n % CONSOLE_BYTES``.
    """

    def __init__(self) -> None:
        self.sink = sink = stream.Endpoint([("data", 8)])
        self._count = CSRStatus(32, name="count", description="Characters since reset, modulo 2^32.")
        self.bus = wishbone.Interface(data_width=32, address_width=32, addressing="word")

        # # #

        words = Memory(32, CONSOLE_BYTES // 4)
        self.memory = wishbone.SRAM(words, read_only=True, bus=self.bus)
        port = words.get_port(write_capable=True, we_granularity=8)
        self.specials += port
        count = Signal(32)
        self.comb += [
            self._count.status.eq(count),
            sink.ready.eq(1),
            port.adr.eq(count[2:]),
            *(port.dat_w[8 * lane : 8 * lane + 8].eq(sink.data) for lane in range(4)),
            *(port.we[lane].eq(sink.valid & (count[:2] == lane)) for lane in range(4)),
        ]
        self.sync += If(sink.valid, count.eq(count + 1))


def add_console(soc) -> None:
    """Keep what the processor's software prints in ``console`` of the bus."""
    soc.console = console = Console()
    soc.bus.add_slave("console", console.bus, SoCRegion(size=CONSOLE_BYTES, cached=False, mode="r"))
    uart = soc.uart.source
    soc.comb += [console.sink.valid.eq(uart.valid & uart.ready), console.sink.data.eq(uart.data)]
    for name in ("MEMTEST_DATA_SIZE", "MEMTEST_ADDR_SIZE"):
        soc.add_constant(name, soc.tested_bytes)
