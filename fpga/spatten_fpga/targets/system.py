# SPDX-License-Identifier: BSD-2-Clause
"""The system on chip of a board: its clocks, memory and links around the one that simulation has too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spatten_drivers import AcceleratorConfig
from spatten_drivers.errors import ConfigError
from spatten_fpga.soc.etherbone import IP_ADDRESS, MAC_ADDRESS
from spatten_fpga.soc.processor import chosen_processor
from spatten_fpga.soc.riscv import versions
from spatten_fpga.soc.soc import SpattenSoc

from .board import Board
from .links import add_links, check_links


@dataclass(frozen=True)
class Choice:
    """What of a board's system can be chosen; what is None is the board's usual.

    Attributes
    ----------
    config : of the core.
    clock : of the system, Hz.
    chips : name of the DRAM's module.
    links : ways to a host.
    ip_address, mac_address, baudrate : of these.
    cpu_type : of :func:`.chosen_processor`: SERV where memory is levelled unless given.
    with_analyzer : of :class:`.SpattenSoc`.
    """

    config: AcceleratorConfig
    clock: float | None = None
    chips: str | None = None
    links: Sequence[str] | None = None
    ip_address: str = IP_ADDRESS
    mac_address: int = MAC_ADDRESS
    baudrate: int | None = None
    cpu_type: str | None = None
    with_analyzer: bool = False


class BoardSoc(SpattenSoc):
    """A board's system. One a process: LiteDRAM and LiteX keep what they know of one for the next.

    Parameters
    ----------
    board : on which.
    choice : what is chosen of it.

    Attributes
    ----------
    board, core_config, links, chips : Board, AcceleratorConfig, names of links, name of the DRAM's module.
    ip_address, mac_address : of the board, where a link is over Ethernet.
    baudrate : of the serial line, 0 if there is none.

    Raises
    ------
    ConfigError : something was chosen that the board does not have.
    ToolError : it has a processor, and packages for that are not installed.
    """

    def __init__(self, board: Board, choice: Choice) -> None:
        clock = board.clock if choice.clock is None else choice.clock
        self.board, self.core_config = board, choice.config
        self.ip_address, self.mac_address = choice.ip_address, choice.mac_address
        self.links = tuple(board.links if choice.links is None else choice.links)
        self.chips = next(iter(board.memory.chips)) if choice.chips is None else choice.chips
        check_links(board, self.links)
        if self.chips not in board.memory.chips:
            raise ConfigError(f"chips are {self.chips!r}; expected one of {', '.join(board.memory.chips)}")

        platform = board.platform()
        crg = board.clocks(platform, clock)
        phy, ties = board.memory.phy(platform, clock, crg)
        module = board.memory.chips[self.chips](clock, board.memory.rate)
        cpu_type = chosen_processor(choice.cpu_type, phy.settings, board.name)
        if cpu_type is not None:
            versions()  # raises before anything is elaborated
        options = {"cpu_type": cpu_type, "with_analyzer": choice.with_analyzer}
        super().__init__(platform, clock, choice.config, phy, module, **options)
        self.crg = crg
        self.comb += ties
        self.baudrate = board.baudrate if choice.baudrate is None else choice.baudrate
        add_links(self, self.links, choice.ip_address, choice.mac_address, self.baudrate)
