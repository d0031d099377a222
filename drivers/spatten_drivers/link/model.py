# SPDX-License-Identifier: BSD-2-Clause
"""The device's end of the link in Python: what the gateware does, as a program. It is the page in code."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..fields import packed
from .format import (
    IDENTITY,
    IDENTITY_WORDS,
    LONGEST,
    MAX_WORDS,
    DamagedPacketError,
    Operation,
    Packet,
    Status,
    decode,
)

_SPAN = 1 << 32
_READS = (Operation.READ, Operation.READ_BLOCK)
_WRITES = (Operation.WRITE, Operation.WRITE_BLOCK)
_BLOCKS = (Operation.READ_BLOCK, Operation.WRITE_BLOCK)


class BusFault(Exception):
    """A word that the bus does not give or take; carries the status."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.name)
        self.status = status


class ModelBus(ABC):
    """Words behind a :class:`LinkDevice`."""

    @abstractmethod
    def read_word(self, address: int) -> int:
        """Raises :class:`BusFault`."""

    @abstractmethod
    def write_word(self, address: int, value: int) -> None:
        """Raises :class:`BusFault`."""


class LinkDevice:
    """Executes requests as ``docs/link.md`` says.

    Parameters
    ----------
    bus : words.
    memory : device memory, changed in place.
    beat_bytes : of a beat of it.
    tickets : makes them.
    """

    def __init__(
        self,
        bus: ModelBus,
        memory: NDArray[np.uint8],
        beat_bytes: int,
        tickets: Callable[[], int] = lambda: secrets.randbits(32),
    ) -> None:
        self.bus = bus
        self.memory = memory
        self.beat_bytes = beat_bytes
        self._tickets = tickets
        self.damaged = self.stale = 0
        self.reset()

    def reset(self) -> None:
        """As after power-up: no session, no ticket."""
        self.session = self.last = 0
        self._ticket: int | None = None
        self._outcome = Status.OK
        self._fault = 0
        self._words = b""
        self._holder = (0, 0)

    def handle(self, raw: bytes, peer: tuple[int, int] = (0, 0)) -> list[bytes]:
        """A packet from an IP address and port; the answer, or nothing."""
        try:
            request = decode(raw)
        except DamagedPacketError:
            request = None
        if request is None or request.answer or len(raw) > LONGEST:
            self.damaged = min(self.damaged + 1, 0xFFFF)
            return []
        answer = self._answer(request, peer)
        return [answer.encode()] if answer else []

    # Session --------------------------------------------------------------------------------------

    def _answer(self, request: Packet, peer: tuple[int, int]) -> Packet | None:
        if request.operation == Operation.IDENTIFY:
            if not _is_proper(request):
                return _reply(request, Status.BAD_REQUEST)
            if self._ticket is None:
                self._ticket = self._tickets()
            return self._identified(request)
        if self.session and request.session == self.session:
            return self._in_session(request)
        if request.operation != Operation.OPEN:
            return _reply(request, Status.WRONG_SESSION, self.session)
        if not _is_proper(request) or not request.session:
            return _reply(request, Status.BAD_REQUEST)
        if request.address != self._ticket:
            return _reply(request, Status.WRONG_TICKET)
        self.session, self.last, self._holder = request.session, request.sequence, peer
        self._ticket = None
        self._outcome = Status.OK
        return self._ended(request)

    def _in_session(self, request: Packet) -> Packet | None:
        ahead = (request.sequence - self.last) % _SPAN
        if ahead == 0:
            fits = _is_proper(request) and (request.operation not in _BLOCKS or self._is_placed(request))
            return self._ended(request) if fits else _reply(request, Status.BAD_REQUEST)
        if ahead >= _SPAN // 2:
            self.stale = min(self.stale + 1, 0xFFFF)
            return None
        if ahead > 1:
            return _reply(request, Status.EARLY, self.last)
        self.last = request.sequence
        if request.chained and self._outcome != Status.OK:
            self._outcome = Status.SKIPPED
        else:
            self._fault = request.address
            self._outcome = self._execute(request)
        return self._ended(request)

    def _ended(self, request: Packet) -> Packet:
        """The answer to the request that was executed last, as often as it is asked for."""
        if self._outcome != Status.OK:
            return _reply(request, self._outcome, self._fault)
        if request.operation == Operation.OPEN:
            return self._identified(request)
        payload = b""
        if request.operation == Operation.READ:
            payload = self._words
        elif request.operation == Operation.READ_BLOCK:
            payload = self.memory[request.address : request.address + 4 * request.count].tobytes()
        return _reply(request, Status.OK, request.address, payload)

    def _identified(self, request: Packet) -> Packet:
        values = {
            "MAX_WORDS": MAX_WORDS,
            "BEAT_BYTES": self.beat_bytes,
            "MEMORY_BYTES": self.memory.size,
            "TICKET": self._ticket or 0,
            "HOLDER": self.session,
            "LAST": self.last,
            "HOLDER_IP": self._holder[0],
            "HOLDER_PORT": self._holder[1],
            "DAMAGED": self.damaged,
            "STALE": self.stale,
        }
        words = np.array(packed(IDENTITY, values, IDENTITY_WORDS), "<u4")
        return _reply(request, Status.OK, request.address, words.tobytes())

    # Execution --------------------------------------------------------------------------------------

    def _execute(self, request: Packet) -> Status:
        if request.operation == Operation.CLOSE and _is_proper(request):
            self.session = 0
            return Status.OK
        if request.operation not in _READS + _WRITES or not _is_proper(request):
            return Status.BAD_REQUEST
        if not self._is_placed(request):
            return Status.BAD_ADDRESS
        if request.operation == Operation.WRITE_BLOCK:
            data = np.frombuffer(request.payload, np.uint8)
            self.memory[request.address : request.address + data.size] = data
        elif request.operation != Operation.READ_BLOCK:
            return self._words_of(request)
        return Status.OK

    def _is_placed(self, request: Packet) -> bool:
        if request.operation not in _BLOCKS:
            return request.address % 4 == 0
        size = 4 * request.count
        whole = request.address % self.beat_bytes == 0 and size % self.beat_bytes == 0
        return whole and request.address + size <= self.memory.size

    def _words_of(self, request: Packet) -> Status:
        words = []
        for at in range(request.count):
            self._fault = (request.address + 4 * at) % _SPAN
            try:
                if request.operation == Operation.READ:
                    words.append(self.bus.read_word(self._fault))
                else:
                    self.bus.write_word(
                        self._fault, int.from_bytes(request.payload[4 * at : 4 * at + 4], "little")
                    )
            except BusFault as fault:
                return fault.status
        self._words = np.array(words, "<u4").tobytes()
        return Status.OK


def _is_proper(request: Packet) -> bool:
    """Whether count and length belong together and to the operation."""
    words = len(request.payload) // 4
    if request.operation in _READS:
        return words == 0 and 1 <= request.count <= MAX_WORDS
    if request.operation in _WRITES:
        return words == request.count and 1 <= request.count <= MAX_WORDS
    return words == request.count == 0


def _reply(request: Packet, status: Status, address: int = 0, payload: bytes = b"") -> Packet:
    return Packet(
        request.operation,
        request.session,
        request.sequence,
        address,
        len(payload) // 4,
        payload,
        chained=request.chained,
        answer=True,
        status=int(status),
    )
