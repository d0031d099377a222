# SPDX-License-Identifier: BSD-2-Clause
"""The Verilog that a bitstream is made of, in simulation, at the other end of an Ethernet cable.

Frames go by the pins of its RGMII, through the PHY's cells and LiteEth, a byte in each cycle of the system's
clock. Registers are reached by the link SpL with the driver's client, or by Etherbone with LiteX's.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
from collections import deque
from collections.abc import Sequence

import numpy as np
from litex.tools.remote.comm_udp import CommUDP

from spatten_drivers.errors import SpattenError
from spatten_drivers.link import LinkClient, Patience, Transport
from spatten_fpga.sim.frames import Host
from spatten_fpga.sim.verilator import Progress

from .gateware import Gateware
from .model import POWER_UP, compiled

ROOM = 2048  # bytes, more than any frame
WAIT, DEADLINE = 20_000, 100_000  # cycles for an answer, and until it is given up


class Cable:
    """Datagrams to a simulated board and from it.

    Parameters
    ----------
    gateware, clock, idle_high, progress : as for :func:`.compiled`.
    host : at this end.

    Raises
    ------
    ToolError : Verilator or the compiler refused it.
    """

    def __init__(
        self, gateware: Gateware, clock: str, idle_high: Sequence[str], host: Host, progress: Progress
    ) -> None:
        self._host = host
        self._library = compiled(gateware, "cable.cpp", clock, idle_high, progress)
        self._library.board_cycles.restype = ctypes.c_uint64
        self._board = ctypes.c_void_p(self._library.board_new())
        self._came: deque[bytes] = deque()
        with contextlib.chdir(gateware.folder):  # where what memories hold at first is read from
            self._run(b"", POWER_UP)

    @property
    def cycles(self) -> int:
        """Of the system's clock, so far."""
        return self._library.board_cycles(self._board)

    def send(self, payload: bytes) -> None:
        """Send a datagram."""
        self._run(self._host.datagram(payload), 0)

    def receive(self, cycles: int) -> bytes | None:
        """The next datagram, ``None`` once so many cycles have passed.

        Raises
        ------
        SpattenError : a frame came that is not whole, or for somebody else.
        """
        end = self.cycles + cycles
        while not self._came and self.cycles < end:
            self._run(b"", end - self.cycles)
        return self._came.popleft() if self._came else None

    def close(self) -> None:
        """End the simulation."""
        self._library.board_free(self._board)

    def _run(self, frame: bytes, cycles: int) -> None:
        """Send, and wait for a frame; a question where the host is gets its answer."""
        came = (ctypes.c_uint8 * ROOM)()
        count = self._library.board_run(self._board, frame, len(frame), came, ROOM, ctypes.c_uint64(cycles))
        try:
            datagrams, questions = self._host.split(bytes(came[:count]))
        except ValueError as error:
            raise SpattenError(f"the simulated board sent {error}") from error
        self._came += datagrams
        if questions:
            self._run(self._host.arp_reply(), 0)


class CableTransport(Transport):
    """Packets of SpL over a cable; its seconds are cycles."""

    name = "simulated board"

    def __init__(self, cable: Cable) -> None:
        self._cable = cable

    def send(self, packet: bytes) -> None:
        self._cable.send(packet)

    def receive(self, timeout: float) -> bytes | None:
        return self._cable.receive(math.ceil(timeout))

    def now(self) -> float:
        return float(self._cable.cycles)

    def close(self) -> None:
        self._cable.close()


class SplLine:
    """The driver's client of SpL, called as LiteX's clients are."""

    def __init__(self, cable: Cable) -> None:
        patience = Patience(first=WAIT, longest=WAIT, deadline=DEADLINE)
        self._client = LinkClient(CableTransport(cable), patience)

    def read(self, address: int, length: int | None = None) -> int | list[int]:
        """A word, or a list of as many as are asked for."""
        words = self._client.read(address, length or 1).tolist()
        return words if length is not None else words[0]

    def write(self, address: int, value: int) -> None:
        """A word."""
        self._client.write(address, np.array([value], np.uint32))

    def close(self) -> None:
        """End the session and the simulation."""
        self._client.close()


class EtherboneLine(CommUDP):
    """LiteX's client of Etherbone, whose socket is a cable."""

    def __init__(self, cable: Cable, port: int) -> None:
        super().__init__(port=port)
        self.socket = _Socket(cable)

    def read(self, addr: int, length: int | None = None, burst: str = "incr") -> int | list[int]:
        """A word, or a list of as many as are asked for."""
        try:
            return super().read(addr, length, burst)
        except TimeoutError as error:
            raise SpattenError(f"the simulated board did not answer a read at {addr:#010x}") from error


class _Socket:
    """What of a socket LiteX's client uses."""

    def __init__(self, cable: Cable) -> None:
        self._cable = cable

    def sendto(self, packet: bytes, place: tuple[str, int]) -> None:
        self._cable.send(bytes(packet))

    def recvfrom(self, size: int) -> tuple[bytes, None]:
        if (packet := self._cable.receive(WAIT)) is None:
            raise TimeoutError("the simulated board sent nothing")
        return packet, None

    def close(self) -> None:
        self._cable.close()
