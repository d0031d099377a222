# SPDX-License-Identifier: BSD-2-Clause
"""Packets as SLIP frames on a serial line, or on a TCP connection that stands for one."""

from __future__ import annotations

import socket
import time
from collections import deque
from typing import Any, Protocol
from urllib.parse import urlsplit

from .errors import LinkError
from .format import LONGEST
from .slip import Deframer, frame
from .transport import Transport

_CHUNK = 1 << 12
_BITS_A_BYTE = 10  # start, eight, stop


class _Line(Protocol):
    """Bytes both ways."""

    def write(self, data: bytes) -> None: ...

    def read(self, timeout: float) -> bytes:
        """What has come, at least a byte; nothing once ``timeout`` seconds have passed."""

    def close(self) -> None: ...


class SerialTransport(Transport):
    """A packet a frame on a serial port (``/dev/ttyUSB1``, ``COM3``) or at ``socket://host:port``.

    Parameters
    ----------
    place : port of this machine, which needs the package pyserial, or ``socket://host:port``, which does not.
    baud : of a serial port; also what answers are waited for by, at either.

    Raises
    ------
    LinkError : there is no such place, or pyserial is missing.
    """

    def __init__(self, place: str, baud: int = 115_200) -> None:
        self.name = f"serial {place}"
        self.bytes_per_second = baud / _BITS_A_BYTE
        self._packets: deque[bytes] = deque()
        self._frames = Deframer(LONGEST)
        try:
            self._line = _TcpLine(place) if place.startswith("socket://") else _port(place, baud)
        except (OSError, ValueError) as error:
            raise LinkError(
                f"{self.name}: {error}; expected a serial port or socket://host:port. Check the uri, and "
                "that no other program has the port open"
            ) from error

    def send(self, packet: bytes) -> None:
        try:
            self._line.write(frame(packet))
        except OSError as error:
            raise self._gone(error) from error

    def receive(self, timeout: float) -> bytes | None:
        end = time.monotonic() + timeout
        while not self._packets:
            left = end - time.monotonic()
            try:
                data = self._line.read(max(left, 0.0))
            except OSError as error:
                raise self._gone(error) from error
            self._packets.extend(self._frames.push(data))
            if not data and left <= 0:
                return None
        return self._packets.popleft()

    def _gone(self, error: OSError) -> LinkError:
        return LinkError(f"{self.name}: {error}; the line is gone. Check the cable and open the device again")

    def close(self) -> None:
        self._line.close()


class _TcpLine:
    def __init__(self, place: str) -> None:
        url = urlsplit(place)
        if not url.hostname or not url.port:
            raise ValueError(f"{place} names no host and port")
        self._socket = socket.create_connection((url.hostname, url.port), timeout=5)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def write(self, data: bytes) -> None:
        self._socket.settimeout(5)
        self._socket.sendall(data)

    def read(self, timeout: float) -> bytes:
        self._socket.settimeout(timeout)
        try:
            data = self._socket.recv(_CHUNK)
        except (TimeoutError, BlockingIOError):
            return b""
        if not data:
            raise ConnectionError("the other end closed the connection")
        return data

    def close(self) -> None:
        self._socket.close()


class _PortLine:
    """A serial port as pyserial gives it."""

    def __init__(self, port: Any) -> None:
        self._port = port

    def write(self, data: bytes) -> None:
        self._port.write(data)

    def read(self, timeout: float) -> bytes:
        self._port.timeout = timeout
        return bytes(self._port.read(max(1, self._port.in_waiting)))

    def close(self) -> None:
        self._port.close()


def _port(place: str, baud: int) -> _Line:
    try:
        import serial
    except ImportError as error:
        raise LinkError(
            f"serial {place}: the package pyserial is missing; install it, or give socket://host:port"
        ) from error
    return _PortLine(serial.Serial(place, baud, timeout=0, exclusive=None))
