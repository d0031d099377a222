# SPDX-License-Identifier: BSD-2-Clause
"""Packets as SLIP frames on a serial line, or on a TCP connection that stands for one."""

from __future__ import annotations

import time
from collections import deque
from urllib.parse import urlsplit

from ..errors import DeviceError
from .channel import Channel, SerialChannel, tcp_channel
from .errors import LinkError
from .format import LONGEST
from .slip import Deframer, frame
from .transport import Transport

_CHUNK = 1 << 12
_BITS_A_BYTE = 10  # start, eight, stop


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
            self._channel = _channel(place, baud, self.name)
        except DeviceError as error:
            raise LinkError(
                f"{error}; expected a serial port or socket://host:port. Check the uri, and that no other "
                "program has the port open"
            ) from error

    def send(self, packet: bytes) -> None:
        self._channel.send(frame(packet))

    def receive(self, timeout: float) -> bytes | None:
        end = time.monotonic() + timeout
        while not self._packets:
            left = end - time.monotonic()
            data = self._channel.receive(_CHUNK, max(left, 0.0))
            self._packets.extend(self._frames.push(data))
            if not data and left <= 0:
                return None
        return self._packets.popleft()

    def close(self) -> None:
        self._channel.close()


def _channel(place: str, baud: int, name: str) -> Channel:
    if not place.startswith("socket://"):
        return SerialChannel(place, baud, name)
    url = urlsplit(place)
    if not url.hostname or not url.port:
        raise LinkError(f"{name}: names no host and port")
    return tcp_channel(url.hostname, url.port, name)
