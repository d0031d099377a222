# SPDX-License-Identifier: BSD-2-Clause
"""What carries packets: datagrams of a network, frames of a serial line, or a call to a model.

A transport may lose, repeat, delay, reorder and damage packets; it promises nothing but to carry some.
"""

from __future__ import annotations

import errno
import math
import socket
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable

from .errors import LinkError
from .format import UDP_PORT

_LARGEST_DATAGRAM = 1 << 16
_RECEIVE_BUFFER = 1 << 20  # bytes: a window of answers must fit while the program does something else


class Transport(ABC):
    """Packets to a device and from it.

    Attributes
    ----------
    name : for messages.
    bytes_per_second : of the line; the client waits for an answer that much longer.
    """

    name: str
    bytes_per_second: float = math.inf

    @abstractmethod
    def send(self, packet: bytes) -> None:
        """Send a packet, or lose it.

        Raises
        ------
        LinkError : the transport is not there any more; waiting does not help.
        """

    @abstractmethod
    def receive(self, timeout: float) -> bytes | None:
        """The next packet, or ``None`` once ``timeout`` seconds have passed."""

    def now(self) -> float:
        """Seconds on the clock that ``timeout`` is measured with."""
        return time.monotonic()

    def close(self) -> None:
        """Release what the transport holds; closing twice is harmless."""


class UdpTransport(Transport):
    """A packet a datagram, to one device; datagrams from elsewhere are not seen.

    Parameters
    ----------
    host, port : of the device.
    """

    def __init__(self, host: str, port: int = UDP_PORT) -> None:
        self.name = f"udp {host}:{port}"
        try:
            place = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(place[0], socket.SOCK_DGRAM)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            self._socket.connect(place[4])
        except OSError as error:
            raise LinkError(
                f"{self.name}: {error}; expected the address of a board. Check the uri"
            ) from error

    def send(self, packet: bytes) -> None:
        try:
            self._socket.send(packet)
        except OSError as error:
            self._lost(error)

    def receive(self, timeout: float) -> bytes | None:
        end = time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            try:
                self._socket.settimeout(max(left, 0.0))
                return self._socket.recv(_LARGEST_DATAGRAM)
            except (TimeoutError, BlockingIOError):
                return None
            except OSError as error:
                self._lost(error)

    def _lost(self, error: OSError) -> None:
        """Nobody listening, or no route, may pass: a board that is loaded anew comes back."""
        if error.errno == errno.EBADF:
            raise LinkError(f"{self.name}: the transport is closed; open the device again") from error
        time.sleep(0.001)  # the next try fails at once too

    def close(self) -> None:
        self._socket.close()


class LoopTransport(Transport):
    """A device in this process: a packet that is sent is handled at once, and its answers can be received.

    Waiting takes no time: the clock goes on by what would have been waited.

    Parameters
    ----------
    handle : the device: from a packet to the packets it answers with.
    name : for messages.
    """

    def __init__(self, handle: Callable[[bytes], Iterable[bytes]], name: str = "loop") -> None:
        self.name = name
        self._handle = handle
        self._answers: deque[bytes] = deque()
        self._now = 0.0

    def send(self, packet: bytes) -> None:
        self._answers.extend(self._handle(packet))

    def receive(self, timeout: float) -> bytes | None:
        if self._answers:
            return self._answers.popleft()
        self._now += timeout
        return None

    def now(self) -> float:
        return self._now
