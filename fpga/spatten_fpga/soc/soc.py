# SPDX-License-Identifier: BSD-2-Clause
"""The SpAtten system on chip: the core, LiteDRAM, and a bus that any host link drives."""

from __future__ import annotations

from litedram.common import PhySettings
from litedram.core.controller import ControllerSettings
from litedram.gen import LiteDRAMCoreControl
from litedram.modules import SDRAMModule
from litex.build.generic_platform import GenericPlatform
from litex.gen import LiteXModule
from litex.soc.integration.soc_core import SoCCore
from litex.soc.interconnect import wishbone
from litex.soc.interconnect.csr_eventmanager import EventManager, EventSourcePulse

from spatten_drivers import AcceleratorConfig
from spatten_drivers.errors import ConfigError
from spatten_fpga.backend.litedram import LiteDRAMBackend
from spatten_fpga.core.accelerator import SpAtten
from spatten_fpga.core.geometry import Geometry

from .processor import TESTED_BYTES, add_console, options_for
from .register_slice import RegisterSlice

BUS_TIMEOUT = 4096  # cycles until an access that nobody answers is counted as an error; LiteX waits a million


def identifier(config: AcceleratorConfig) -> str:
    """What the system calls itself."""
    return f"SpAtten, ABI {config.abi}, configuration {config.digest:016x}"


class JobEvents(LiteXModule):
    """The core's interrupt as a host can take it: pending until it is cleared.

    Attributes
    ----------
    ev : the event manager; its one event is ``done``.
    """

    def __init__(self, pulse) -> None:
        self.ev = ev = EventManager()
        ev.done = done = EventSourcePulse(description="A job ended and CONTROL.IRQ_ENABLE was set.")
        ev.finalize()
        self.comb += done.trigger.eq(pulse)


class SpattenSoc(SoCCore):
    """One system for all boards and for simulation.

    Its CSRs are the contract's registers, ``spatten_*``; ``ctrl`` with the count of bus errors and a reset of
    everything; ``ddrctrl``, by which whoever initialised memory says that it is ready; ``job_irq``; a timer;
    the identifier; and LiteDRAM's own for the initialisation. Device memory is ``main_ram`` on the bus. The
    core has a native port of its own, so bulk data of a host and of a job meet at the controller only.

    A board gives its clocks: ``crg`` must be set before or after, as in every LiteX system.

    Parameters
    ----------
    platform, clock : of the board; Hz.
    config : of the core.
    phy : of the DRAM, nobody's submodule yet.
    chips : the DRAM's module at this clock, from :mod:`.memory`.
    memory_bytes : that jobs may reach; all there are unless given.
    with_analyzer : whether it has LiteScope on the core's interesting signals, see :mod:`.analyzer`.
    options : more for LiteX's ``SoCCore``. With ``cpu_type="serv"`` the stock BIOS makes memory ready, and
        what it prints is in ``console`` of the bus, see :mod:`.processor`.

    Attributes
    ----------
    tested_bytes : of memory that a processor's software tests.

    Raises
    ------
    ConfigError : the chips have fewer bytes.
    """

    tested_bytes = TESTED_BYTES

    def __init__(
        self,
        platform: GenericPlatform,
        clock: float,
        config: AcceleratorConfig,
        phy: LiteXModule,
        chips: SDRAMModule,
        *,
        memory_bytes: int | None = None,
        with_analyzer: bool = False,
        **options,
    ) -> None:
        settings = {
            "cpu_type": None,
            "ident": identifier(config),
            "timer_uptime": True,
            "bus_timeout": BUS_TIMEOUT,
            **options_for(options.get("cpu_type")),
            **options,
        }
        super().__init__(platform, int(clock), **settings)
        self.chip_bytes = chip_bytes(chips, phy.settings)
        self.memory_bytes = memory_bytes or self.chip_bytes
        if self.memory_bytes > self.chip_bytes:
            raise ConfigError(
                f"memory is {self.memory_bytes:#x} bytes; the chips have {self.chip_bytes:#x}. Ask for less"
            )

        # Memory -----------------------------------------------------------------------------------
        name = "sdrphy" if phy.settings.memtype == "SDR" else "ddrphy"  # as LiteX's software knows it
        self.add_module(name, phy)
        self.add_sdram(
            "sdram",
            phy=phy,
            module=chips,
            l2_cache_size=0,  # a host and the core would see different data
            origin=self.mem_map["main_ram"],
            controller_settings=ControllerSettings(),  # LiteDRAM's default is one object for all, and changed
        )
        self.ddrctrl = ddrctrl = LiteDRAMCoreControl()

        # Core -------------------------------------------------------------------------------------
        geometry = Geometry(config)
        self.spatten = spatten = SpAtten(config, self.memory_bytes)
        port = self.sdram.crossbar.get_port("both", data_width=geometry.beat_bits)
        self.backend = backend = LiteDRAMBackend(geometry, port)
        self.job_irq = JobEvents(spatten.irq)
        if self.irq.enabled:
            self.irq.add("job_irq", use_loc_if_exists=True)
        if self.cpu_type is not None and settings["uart_name"] == "stub":
            add_console(self)
        if with_analyzer:
            from .analyzer import add_analyzer  # LiteScope, which nobody else needs

            add_analyzer(self)
        self.comb += [
            spatten.dram_ready.eq(ddrctrl.init_done.storage & ~ddrctrl.init_error.storage),
            spatten.memory.command.connect(backend.port.command),
            backend.port.data.connect(spatten.memory.data),
            spatten.memory.write.connect(backend.port.write),
            spatten.memory.writes_pending.eq(backend.port.writes_pending),
        ]

    def add_host(self, name: str, master: wishbone.Interface) -> None:
        """Let a host link drive the bus.

        Parameters
        ----------
        name : of the link.
        master : its bus, with addresses of words or bytes.
        """
        self.bus.add_master(name=name, master=master)

    def finalize(self) -> None:
        """Put registers before every master: from one through the bus and back to it is a long way."""
        if not self.finalized:
            for name, master in self.bus.masters.items():
                sliced = RegisterSlice(master)
                self.add_module(f"{name}_registers", sliced)
                self.bus.masters[name] = sliced.bus
        super().finalize()


def chip_bytes(chips: SDRAMModule, settings: PhySettings) -> int:
    """Bytes of all chips behind a PHY."""
    geometry = chips.geom_settings
    words = 1 << (geometry.bankbits + geometry.rowbits + geometry.colbits)
    return words * settings.nranks * settings.databits // 8
