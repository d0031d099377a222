# SPDX-License-Identifier: BSD-2-Clause
"""Ways from a board to its host, by name.

SpL over UDP is the usual one where there is Ethernet: it finds damage and losses by itself and moves blocks.
LiteX's own bridges are there for LiteX's own tools: ``uartbone`` on the serial line takes some 300 LUTs
beside it. Etherbone shares the UDP core with SpL and takes some 2,000 more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from liteeth.core import LiteEthUDPIPCore
from litex.soc.cores.uart import RS232PHY

from spatten_drivers.devices.litex.opening import BAUD_CONSTANT
from spatten_drivers.errors import ConfigError
from spatten_fpga.link.attach import AttachedLink
from spatten_fpga.link.slip import SerialLink
from spatten_fpga.link.udp import UdpLink
from spatten_fpga.soc.etherbone import add_etherbone, udp_core

from .board import Board


def check_links(board: Board, links: Collection[str]) -> None:
    """Refuse links that the board cannot have.

    Raises
    ------
    ConfigError : no such link, its connector is not there, two want the same serial line, or there is none.
    """
    if unknown := [name for name in links if name not in LINKS]:
        raise ConfigError(f"link is {unknown[0]!r}; expected of {', '.join(LINKS)}")
    if not links:
        raise ConfigError(f"no link to a host; expected at least one of {', '.join(possible(board))}")
    if missing := [name for name in links if name not in possible(board)]:
        raise ConfigError(f"{board.name} cannot have {missing[0]}; expected of {', '.join(possible(board))}")
    if serial := [name for name in links if name in SERIAL][1:]:
        raise ConfigError(
            f"{serial[0]} wants a serial line that another link has; give one of {', '.join(SERIAL)}"
        )


def possible(board: Board) -> list[str]:
    """Links that a board has connectors for."""
    there = {name: bool(board.baudrate) for name in SERIAL} | {
        name: bool(board.ethernet) for name in ETHERNET
    }
    return [name for name in LINKS if there[name]]


def add_links(soc, links: Collection[str], ip_address: str, mac_address: int, baudrate: int) -> None:
    """Give a system its links.

    Parameters
    ----------
    soc : :class:`.system.BoardSoc`, not finalised yet.
    links : names, checked.
    ip_address, mac_address : of the board, where a link is over Ethernet.
    baudrate : of its serial line, where one is serial.
    """
    if any(name in ETHERNET for name in links):
        soc.ethphy = phy = soc.board.ethernet.phy(soc.platform)
        udp = udp_core(soc, phy, ip_address=ip_address, mac_address=mac_address)
        for name in links:
            if name in ETHERNET:
                ETHERNET[name](soc, udp)
    serial = [name for name in links if name in SERIAL]
    if serial:
        soc.add_constant(BAUD_CONSTANT.upper(), baudrate)
    for name in serial:
        SERIAL[name](soc, baudrate)


def _spl_udp(soc, core: LiteEthUDPIPCore) -> None:
    soc.link = link = AttachedLink(soc, soc.core_config)
    soc.link_udp = UdpLink(core.udp, link.endpoint)


def _spl_uart(soc, baudrate: int) -> None:
    soc.serial_link = link = AttachedLink(soc, soc.core_config, name="serial_link")
    soc.serial_phy = phy = RS232PHY(soc.platform.request("serial"), soc.sys_clk_freq, baudrate)
    soc.serial_line = SerialLink(phy, link.endpoint)


def _uartbone(soc, baudrate: int) -> None:
    soc.add_uartbone(baudrate=baudrate)


ETHERNET: Mapping[str, Callable] = {"spl-udp": _spl_udp, "etherbone": add_etherbone}
SERIAL: Mapping[str, Callable] = {"uartbone": _uartbone, "spl-uart": _spl_uart}
#: What each is, for people.
LINKS: Mapping[str, str] = {
    "spl-udp": "the link SpL over UDP: checked, in blocks; devices litex:link://",
    "etherbone": "LiteX's Etherbone over UDP: litex_server --udp, devices litex:udp://",
    "uartbone": "LiteX's bridge on the serial line: litex_server --uart, devices litex:serial://",
    "spl-uart": "the link SpL on the serial line; devices litex:link+serial://",
}
