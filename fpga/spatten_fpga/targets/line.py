# SPDX-License-Identifier: BSD-2-Clause
"""The Verilog that a bitstream is made of, in simulation, as LiteX's tools see it: by a serial line."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Sequence

from litex.tools.remote.comm_uart import CommUART

from spatten_drivers.errors import SpattenError
from spatten_fpga.sim.verilator import Progress

from .gateware import Gateware
from .model import POWER_UP, compiled

PATIENCE = 400  # bits of the line, for a byte that has to come


class Line(CommUART):
    """LiteX's client of a serial bridge, with a simulated system at the other end.

    Parameters
    ----------
    gateware, clock, idle_high, progress : as for :func:`.compiled`.
    bit_cycles : cycles of the system's clock for a bit of the line.

    Raises
    ------
    ToolError : Verilator or the compiler refused it.
    """

    def __init__(
        self, gateware: Gateware, clock: str, idle_high: Sequence[str], bit_cycles: int, progress: Progress
    ) -> None:
        self.debug, self.addr_bytes, self.bit_cycles = False, 4, bit_cycles
        self._library = compiled(gateware, "line.cpp", clock, idle_high, progress)
        self._board = ctypes.c_void_p(self._library.board_new(ctypes.c_uint64(bit_cycles)))
        self._waiting = bytearray()
        with contextlib.chdir(gateware.folder):  # where what memories hold at first is read from
            self._run(b"", 1, POWER_UP)

    def close(self) -> None:
        """Send what waits, and end the simulation."""
        self._read(0)
        self._library.board_free(self._board)

    def _flush(self) -> None:
        """Nothing comes that was not asked for."""

    def _write(self, data: Sequence[int]) -> None:
        self._waiting += bytes(data)

    def _read(self, length: int) -> bytes:
        sent, self._waiting = bytes(self._waiting), bytearray()
        bits = 10 * len(sent) + PATIENCE * (length + 1)
        came = self._run(sent, length, self.bit_cycles * bits)
        if len(came) != length:
            raise SpattenError(f"the simulated board sent {len(came)} bytes, expected {length}")
        return came

    def _run(self, sent: bytes, length: int, cycles: int) -> bytes:
        came = (ctypes.c_uint8 * length)()
        limit = ctypes.c_uint64(cycles)
        count = self._library.board_run(self._board, sent, len(sent), came, length, limit)
        return bytes(came[:count])
