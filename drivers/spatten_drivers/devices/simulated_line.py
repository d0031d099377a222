# SPDX-License-Identifier: BSD-2-Clause
"""The line to the link SpL of a simulated system: whole packets in and out, and time."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np

from ..errors import DeviceError
from .verilator import SimulatedBus

WORD = 4
_ROOM = 512  # words; the longest answer has 358
_u32, _u64, _words = ctypes.c_uint32, ctypes.c_uint64, ctypes.POINTER(ctypes.c_uint32)


class Datagram(NamedTuple):
    """A packet, and the IPv4 address and port at the other end of the line as ``address << 16 | port``."""

    data: bytes
    peer: int


class SimulatedLine:
    """What a network would carry to the link of a simulated system, and from it.

    Parameters
    ----------
    bus : of a system that was built with a link; must stay open while the line is used.

    Raises
    ------
    DeviceError : the system has no link.
    """

    def __init__(self, bus: SimulatedBus) -> None:
        self._bus, library = bus, bus.library
        if not hasattr(library, "line_new"):
            raise DeviceError("verilator: this system was built without a link; build it with --link")
        library.line_new.restype, library.line_new.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
        library.line_free.restype, library.line_free.argtypes = None, [ctypes.c_void_p]
        library.line_push.restype = None
        library.line_push.argtypes = [ctypes.c_void_p, _words, _u32, _u64, ctypes.c_int]
        library.line_run.restype, library.line_run.argtypes = ctypes.c_int, [ctypes.c_void_p, _u64]
        library.line_pop.restype = _u32
        library.line_pop.argtypes = [ctypes.c_void_p, _words, _u32, ctypes.POINTER(_u64)]
        self._library = library
        self._handle: int | None = library.line_new(bus.handle)

    def push(self, datagram: Datagram) -> None:
        """Queue a datagram; one that is no whole number of words is marked damaged, as LiteEth does."""
        data = datagram.data
        if not data:
            return
        damaged = len(data) % WORD != 0
        words = np.frombuffer(data + bytes(-len(data) % WORD), "<u4").astype(np.uint32)
        given = words.ctypes.data_as(_words)
        self._library.line_push(self._open(), given, words.size, datagram.peer, damaged)

    def run(self, cycles: int) -> bool:
        """Let time pass, at most so many cycles, until an answer is there; whether one is."""
        return bool(self._library.line_run(self._open(), cycles))

    def pop(self) -> Datagram | None:
        """The oldest answer that has come."""
        words, peer = np.empty(_ROOM, np.uint32), _u64()
        count = self._library.line_pop(self._open(), words.ctypes.data_as(_words), _ROOM, ctypes.byref(peer))
        if count > _ROOM:
            raise DeviceError(f"verilator: the link answered with {count} words; expected at most 358")
        return Datagram(words[:count].astype("<u4").tobytes(), peer.value) if count else None

    def close(self) -> None:
        """Forget what is under way; closing twice is harmless."""
        if self._handle:
            self._library.line_free(self._handle)
            self._handle = None

    def _open(self) -> int:
        """The handle, while the system behind it is there too."""
        if not self._handle or not self._bus.handle:
            raise DeviceError("verilator: the line is closed; open it again")
        return self._handle
