# SPDX-License-Identifier: BSD-2-Clause
"""What a board is: chip and pins, clocks, memory, ways to a host. A target's module holds one of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from litedram.common import get_default_cl
from litedram.modules import SDRAMModule
from litedram.phy import ECP5DDRPHY, GENSDRPHY, HalfRateGENSDRPHY
from liteeth.phy.ecp5rgmii import LiteEthPHYRGMII
from litex.build.lattice import LatticeECP5Platform
from litex.gen import LiteXModule

from spatten_drivers.errors import ConfigError

SLOWEST, FASTEST = 10e6, 200e6  # Hz of a system: limits of the chips' delay lines and of the PHY
FASTEST_SDRAM = 133e6  # Hz
Chips = Mapping[str, type[SDRAMModule]]


@dataclass(frozen=True)
class Ddr3:
    """DDR3 behind LiteDRAM's PHY of the ECP5, two clocks of memory to one of the system.

    Attributes
    ----------
    chips : modules by name, the board's usual one first.
    options : more for the PHY, given the system's clock in Hz.
    terminated : the chips' own termination is on.
    """

    chips: Chips
    options: Callable[[float], Mapping[str, Any]] = lambda clock: {}
    terminated: bool = True
    rate = "1:2"

    def phy(self, platform: LatticeECP5Platform, clock: float, crg: LiteXModule) -> tuple[LiteXModule, list]:
        """The PHY, and the statements that tie it to its pins and to the clocks it stops while it starts."""
        pads = platform.request("ddram")
        phy = ECP5DDRPHY(pads, sys_clk_freq=clock, **self.options(clock))
        if not self.terminated:
            phy.settings.rtt_nom = "disabled"
        ties = [crg.stop.eq(phy.init.stop), crg.reset.eq(phy.init.reset)]
        if hasattr(pads, "vccio"):  # pins that are strapped to a supply, to feed the bank
            ties.append(pads.vccio.eq(2 ** len(pads.vccio) - 1))
        if hasattr(pads, "gnd"):
            ties.append(pads.gnd.eq(0))
        return phy, ties


@dataclass(frozen=True)
class Sdram:
    """SDRAM behind LiteDRAM's generic PHY.

    Attributes
    ----------
    chips : modules by name, the board's usual one first.
    rate : clocks of the system to clocks of the memory, 1:1 or 1:2.
    """

    chips: Chips
    rate: str = "1:1"

    def phy(self, platform: LatticeECP5Platform, clock: float, crg: LiteXModule) -> tuple[LiteXModule, list]:
        """The PHY; nothing is to be tied.

        Raises
        ------
        ConfigError : the memory would be clocked faster than LiteDRAM knows a latency for.
        """
        kind, times = {"1:1": (GENSDRPHY, 1), "1:2": (HalfRateGENSDRPHY, 2)}[self.rate]
        if times * clock > FASTEST_SDRAM:
            raise ConfigError(
                f"the clock of the SDRAM is {times * clock / 1e6:g} MHz; expected at most "
                f"{FASTEST_SDRAM / 1e6:g}. Give a --sys-clk-freq of at most {FASTEST_SDRAM / times:.0f}"
            )
        latency = get_default_cl("SDR", 1 / (times * clock))  # of the memory's clock, not of the system's
        return kind(platform.request("sdram"), clock, latency), []


@dataclass(frozen=True)
class Rgmii:
    """Gigabit Ethernet through a PHY chip with RGMII.

    Attributes
    ----------
    tx_delay, rx_delay : seconds that the FPGA adds to clock and data; the rest is the PHY chip's.
    """

    tx_delay: float = 2e-9
    rx_delay: float = 0.0

    def phy(self, platform: LatticeECP5Platform) -> LiteXModule:
        """LiteEth's PHY; its receive clock is held to 125 MHz, whether the board's pins say so or not."""
        clocks = platform.request("eth_clocks")
        platform.add_period_constraint(clocks.rx, 1e9 / 125e6)
        return LiteEthPHYRGMII(
            clocks, platform.request("eth"), tx_delay=self.tx_delay, rx_delay=self.rx_delay
        )


@dataclass(frozen=True)
class Board:
    """A board that the system is built for.

    Attributes
    ----------
    name : of its module and of its folder of bitstreams.
    title : maker and name, for people.
    platform : makes the pins.
    clocks : makes the clocks, given platform and the system's clock in Hz.
    memory : its DRAM.
    preset : of the core; the largest that fits with margin.
    clock : of the system, Hz.
    links : ways to a host, of :data:`.links.LINKS`, that a build has unless told otherwise.
    ethernet : None if there is none.
    baudrate : of its serial line, 0 if there is none.
    idle_high : pins that are high while nobody presses a button, other than those whose names end in ``_n``.
    """

    name: str
    title: str
    platform: Callable[[], LatticeECP5Platform]
    clocks: Callable[[LatticeECP5Platform, float], LiteXModule]
    memory: Ddr3 | Sdram
    preset: str
    clock: float
    links: tuple[str, ...]
    ethernet: Rgmii | None = None
    baudrate: int = 0
    idle_high: tuple[str, ...] = ()
