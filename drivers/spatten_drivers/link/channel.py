# SPDX-License-Identifier: BSD-2-Clause
"""What carries bytes to a board: a UDP socket, a TCP socket, a serial port. Each has its own clock."""

from __future__ import annotations

import importlib
import select
import socket
import time
from abc import ABC, abstractmethod
from typing import Any

from ..errors import DeviceError, LinkError

#: Longest datagram that is taken; LiteEth sends at most one Ethernet frame.
DATAGRAM_BYTES = 2048


class Channel(ABC):
    """Bytes both ways, and the time that passes meanwhile.

    Tests replace it by one with faults and a clock of its own, so that a wait of a second takes no time.
    """

    name: str

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Send all of ``data``; raises :class:`LinkError` if the other side is gone."""

    @abstractmethod
    def receive(self, size: int, timeout: float) -> bytes:
        """What came within ``timeout`` seconds: at most ``size`` bytes, or one datagram, or nothing."""

    def now(self) -> float:
        """Seconds of a clock that never goes back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)

    def close(self) -> None:
        """Give the socket or port back; closing twice is harmless."""


class SocketChannel(Channel):
    """A connected socket, datagrams or a stream."""

    def __init__(self, connected: socket.socket, name: str) -> None:
        self.name, self._socket = name, connected
        self._socket.setblocking(False)

    def send(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                select.select([], [self._socket], [], 1.0)
                view = view[self._socket.send(view) :]
        except ConnectionRefusedError:
            return  # of an earlier datagram: nobody listens there now, which the missing answer tells
        except OSError as error:
            raise LinkError(
                f"{self.name}: cannot send ({error}). Check that the board or server runs"
            ) from error

    def receive(self, size: int, timeout: float) -> bytes:
        try:
            if not select.select([self._socket], [], [], max(0.0, timeout))[0]:
                return b""
            data = self._socket.recv(size)
        except ConnectionRefusedError:
            time.sleep(max(0.0, timeout))  # nobody listens: waiting is all that is left to do
            return b""
        except OSError as error:
            raise LinkError(f"{self.name}: cannot receive ({error})") from error
        if not data and self._socket.type == socket.SOCK_STREAM:
            raise LinkError(f"{self.name}: the other side closed the connection; start it anew and reopen")
        return data

    def close(self) -> None:
        self._socket.close()


def udp_channel(host: str, port: int, name: str) -> SocketChannel:
    """Datagrams to ``host:port`` from the same port here, because LiteEth answers to no other.

    The socket is connected, so datagrams of others are not seen, and several boards share the local port.
    """
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        udp.bind((_own_address_towards(host, port), port))
        udp.connect((host, port))
    except OSError as error:
        udp.close()
        raise DeviceError(
            f"{name}: cannot open UDP port {port} towards {host} ({error}). LiteEth answers to this port "
            "only: check the address, the route, and that no other program (litex_server?) holds the port"
        ) from error
    return SocketChannel(udp, name)


def _own_address_towards(host: str, port: int) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port))
        return str(probe.getsockname()[0])


def tcp_channel(host: str, port: int, name: str, timeout: float = 3.0) -> SocketChannel:
    """A stream to ``host:port``; small writes leave at once (no Nagle delay)."""
    try:
        tcp = socket.create_connection((host, port), timeout)
    except OSError as error:
        raise DeviceError(
            f"{name}: nobody answers at {host}:{port} ({error}). Start the server first"
        ) from error
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return SocketChannel(tcp, name)


def pyserial(name: str) -> Any:
    """The package, which is imported only here; ``name`` is that of who needs it."""
    try:
        return importlib.import_module("serial")
    except ImportError:
        raise DeviceError(f"{name}: a serial port needs pyserial; pip install pyserial") from None


class SerialChannel(Channel):
    """A serial port through pyserial."""

    def __init__(self, port: str, baud: int, name: str) -> None:
        self.name = name
        serial = pyserial(name)
        try:
            self._port = serial.serial_for_url(port, baud, timeout=0, write_timeout=2.0, exclusive=True)
        except (OSError, ValueError) as error:
            raise DeviceError(f"{name}: cannot open {port} at {baud} baud ({error})") from error

    def send(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except OSError as error:
            raise LinkError(f"{self.name}: cannot send ({error}). Is the cable still plugged in?") from error

    def receive(self, size: int, timeout: float) -> bytes:
        try:
            self._port.timeout = max(0.0, timeout)
            data = bytes(self._port.read(1))
            self._port.timeout = 0
            return data + bytes(self._port.read(size - 1)) if data else b""
        except OSError as error:
            raise LinkError(
                f"{self.name}: cannot receive ({error}). Is the cable still plugged in?"
            ) from error

    def close(self) -> None:
        self._port.close()
