# SPDX-License-Identifier: BSD-2-Clause
"""``litex:`` uris: which link, which board, which map."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from ...bitstream import bitstream_beside
from ...errors import DeviceMismatchError, UriError
from ...link import LinkClient, SerialTransport, Transport, UdpTransport
from ...link.channel import SerialChannel, pyserial, tcp_channel, udp_channel
from ...link.format import UDP_PORT
from ...registers import IDENTITY_MAGIC
from ..bus import Bus
from ..csr_map import CsrMap
from ..uri import Refusal, options_of, require_choice
from .checked_bus import CheckedBus
from .device import LitexDevice, dram_beside
from .link import Link
from .link_bus import LinkBus
from .server_link import DEFAULT_DEPTH, ServerLink
from .uart_link import UartLink
from .udp_link import UdpLink

ENVIRONMENT = "SPATTEN_BOARD"
EXAMPLE = "litex:udp://192.168.1.50?csr=build/csr.json"
DEFAULTS = {"csr": "", "baud": "", "depth": str(DEFAULT_DEPTH), "level": "0", "lifetime": "50"}
#: Words of a record that our Etherbone core buffers; a system that has LiteEth's own does not export it.
DEPTH_CONSTANT = "spatten_etherbone_depth"
#: Bits a second of a system's serial line; those of :data:`DEFAULT_BAUD` where none is exported.
BAUD_CONSTANT = "spatten_baudrate"
DEFAULT_BAUD = 115_200
#: Of a system that is simulated, though it is reached as a board is.
SIMULATED = "spatten_simulated"


class Place(NamedTuple):
    """Where a board is and how it is reached."""

    board: str  # without options: what is locked, and named in messages
    host: str
    port: int
    path: str
    csr_map: CsrMap
    baud: int
    depth: int
    level: bool
    lifetime: float  # seconds


def probe() -> Refusal | str:
    """The board that the environment names; networks and ports are not searched."""
    board = os.environ.get(ENVIRONMENT, "").removeprefix("litex:")
    if not board:
        return Refusal("litex", f"{ENVIRONMENT} is not set; set it to your board, such as {EXAMPLE}")
    if urlsplit(board).scheme not in BUSES:
        return Refusal("litex", f"{ENVIRONMENT} is {board!r}; expected a uri such as {EXAMPLE}")
    return f"litex:{board}"


def open_uri(parts: SplitResult, kernel: str) -> LitexDevice:
    """Open the board that a uri names.

    ``litex:udp://host[:1234]`` is Etherbone, ``litex:serial:///dev/ttyUSB0`` a UART bridge,
    ``litex:socket://host:port`` the same bytes over TCP, ``litex:server://host[:1234]`` is ``litex_server``.
    ``litex:link://host[:5392]`` is the link SpL over UDP, ``litex:link+serial:///dev/ttyUSB0`` over a line.
    Options: ``csr`` is the path of the system's ``csr.json``, ``baud`` the speed of the serial line where
    that does not say it, ``depth`` the words that the Etherbone core behind ``litex_server`` buffers,
    ``lifetime`` the milliseconds for which a packet or a copy of it may be under way in the network, 0 on a
    cable without a switch. ``level=1`` makes memory ready anew, though it is.

    A bitstream's folder around ``csr`` must match its manifest, and the board must run that bitstream.

    Raises
    ------
    UriError : what the uri lacks.
    DeviceError : with what is wrong and what to do.
    BitstreamError : the folder does not match its manifest.
    """
    from .lock import BoardLock  # of systems with fcntl only

    place = _place(parts)
    bitstream = bitstream_beside(Path(place.csr_map.source))
    scheme = place.board.split(":")[0]
    with ExitStack() as opening:
        lock = BoardLock(place.board)
        opening.callback(lock.release)
        bus = BUSES[scheme](place)
        opening.callback(bus.close)
        return LitexDevice(
            bus,
            place.csr_map,
            name=f"litex {place.board}",
            is_board=SIMULATED not in place.csr_map.constants,
            resources=opening.pop_all(),
            dram=dram_beside(Path(place.csr_map.source)),
            renew=place.level,
            window=1 << 14 if scheme in ("udp", "link") else 1 << 10,
            bitstream=bitstream,
        )


def check_uri(parts: SplitResult) -> None:
    """Raises :class:`DeviceError` if no board can be opened by it: the uri, its map, no pyserial."""
    board = _place(parts).board
    if board.split(":")[0] in _SERIAL:
        pyserial(board)


def _udp(place: Place) -> Bus:
    depth = place.csr_map.constants.get(DEPTH_CONSTANT)
    if not isinstance(depth, int):
        raise DeviceMismatchError(
            f"{place.csr_map.source}: has no constant {DEPTH_CONSTANT}, so its Etherbone core is LiteEth's "
            "own. That one acts on damaged frames and loses its place in a record that writes and reads. "
            "Build the system with spatten_fpga.soc.etherbone, or reach it through litex_server "
            "(litex:server://host)"
        )
    channel = udp_channel(place.host, place.port, f"etherbone {place.board}")
    return _checked(UdpLink(channel, depth, place.lifetime), place)


def _serial(place: Place) -> Bus:
    channel = SerialChannel(place.path, place.baud, f"uart {place.board}")
    return _checked(UartLink(channel, _marker(place.csr_map), place.baud), place)


def _socket(place: Place) -> Bus:
    channel = tcp_channel(place.host, place.port, f"uart {place.board}")
    return _checked(UartLink(channel, _marker(place.csr_map), place.baud), place)


def _server(place: Place) -> Bus:
    channel = tcp_channel(place.host, place.port, f"litex_server {place.board}")
    return _checked(ServerLink(channel, place.depth), place)


def _link(place: Place) -> Bus:
    return _linked(UdpTransport(place.host, place.port), place)


def _link_serial(place: Place) -> Bus:
    return _linked(SerialTransport(place.path, place.baud), place)


def _linked(transport: Transport, place: Place) -> Bus:
    return LinkBus(LinkClient(transport), _ram(place))


def _checked(link: Link, place: Place) -> Bus:
    return CheckedBus(link, _ram(place))


def _ram(place: Place) -> range:
    ram = place.csr_map.memory("main_ram")
    return range(ram.base, ram.base + ram.size)


#: How each kind of bus is opened; one line for a new one.
BUSES: dict[str, Callable[[Place], Bus]] = {
    "udp": _udp,
    "serial": _serial,
    "socket": _socket,
    "server": _server,
    "link": _link,
    "link+serial": _link_serial,
}
_PORTS = {"udp": 1234, "server": 1234, "link": UDP_PORT}
_SERIAL = ("serial", "link+serial")


def _place(parts: SplitResult) -> Place:
    options = options_of("litex device", parts, DEFAULTS)
    require_choice("level", options["level"], ("0", "1"))
    where = urlsplit(parts.path)
    if where.scheme not in BUSES:
        raise UriError(
            f"litex:{parts.path}: expected litex: and one of {', '.join(f'{kind}://' for kind in BUSES)}, "
            f"such as {EXAMPLE}"
        )
    if not options["csr"]:
        raise UriError(
            f"litex:{parts.path}: names no register map; add ?csr=path/of/csr.json, which is beside the "
            "bitstream"
        )
    try:
        port = where.port or _PORTS.get(where.scheme, 0)
        baud, depth = int(options["baud"] or 0), int(options["depth"])
        lifetime = int(options["lifetime"]) / 1000
    except ValueError as error:
        raise UriError(
            f"litex:{parts.path}: port, baud, depth and lifetime are whole numbers ({error})"
        ) from None
    if where.scheme not in _SERIAL and not (where.hostname and port):
        raise UriError(f"litex:{parts.path}: names no host and port; expected {where.scheme}://host:port")
    csr_map = CsrMap.load(options["csr"])
    baud = baud or csr_map.constants.get(BAUD_CONSTANT, DEFAULT_BAUD)
    board = f"{where.scheme}://{_one_name(where.scheme, where.hostname or '', where.path)}"
    if port:
        board += f":{port}"
    return Place(
        board, where.hostname or "", port, where.path, csr_map, baud, depth, options["level"] == "1", lifetime
    )


def _one_name(scheme: str, host: str, path: str) -> str:
    """Of a board that goes by several, so that its lock is one: the port's own path, the host's address."""
    if scheme in _SERIAL:
        return os.path.realpath(path)
    try:
        return socket.gethostbyname(host)
    except OSError as error:
        raise UriError(f"litex:{scheme}://{host}: no such host ({error})") from error


def _marker(csr_map: CsrMap) -> tuple[int, int]:
    return csr_map.address("spatten_identity"), IDENTITY_MAGIC
