# SPDX-License-Identifier: BSD-2-Clause
"""The host's end of the link: a :class:`.Bus` whose every word is checked, and fast blocks of memory."""

from __future__ import annotations

import ipaddress
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..devices.bus import Bus, Words
from ..errors import DeviceMemoryError
from ..fields import unpack
from .errors import LinkBusyError, LinkError, SessionLostError
from .format import (
    IDENTITY,
    IDENTITY_WORDS,
    OVERHEAD_WORDS,
    STATUS_HELP,
    DamagedPacketError,
    Operation,
    Packet,
    Status,
    decode,
)
from .transport import Transport
from .window import Window

_SPAN = 1 << 32
_HELP: dict[int, str] = {int(status): text for status, text in STATUS_HELP.items()}
_TICKETS = 8  # sessions that may begin between our asking for a ticket and using it
_LOOKS = 8  # at a holder, before it is taken for dead


@dataclass(frozen=True)
class Patience:
    """How long to wait for an answer before asking again, and when to give up; all in seconds.

    Attributes
    ----------
    first, factor, longest : the first wait, by how much each further one is longer, and the longest.
    deadline : without any progress; then a request has failed.
    """

    first: float = 0.02
    factor: float = 2.0
    longest: float = 0.5
    deadline: float = 5.0


@dataclass(frozen=True)
class Identity:
    """What a device says of itself, see the table of ``docs/link.md``."""

    max_words: int
    beat_bytes: int
    memory_bytes: int
    ticket: int
    holder: int
    last: int
    holder_ip: int
    holder_port: int
    damaged: int
    stale: int

    @classmethod
    def of(cls, payload: bytes) -> Identity:
        """From the payload of an answer."""
        values = unpack(IDENTITY, np.frombuffer(payload, "<u4"))
        return cls(**{name.lower(): value for name, value in values.items()})

    def holder_name(self) -> str:
        """Who holds the device, for a message."""
        place = (
            f"{ipaddress.IPv4Address(self.holder_ip)}:{self.holder_port}" if self.holder_ip else "its line"
        )
        return f"session {self.holder:08x} from {place}"


@dataclass
class _Log:
    """What came while an answer was waited for."""

    tries: int = 0
    seen: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return ", ".join(f"{count} {what}" for what, count in self.seen.items()) or "nothing"


class LinkClient(Bus):
    """Words of a bus and blocks of device memory over a :class:`.Transport`.

    Every request is executed once, or not at all, or an error says that this is not known. What is returned
    has passed the CRC and belongs to this request of this session. A session is opened at the first request,
    and anew after an error that left the fate of a request open: so nothing sent before is executed after.

    Parameters
    ----------
    transport : to one device.
    patience : with lost packets.
    window : most requests of a block in flight.
    lease : seconds for which another session must have been silent before it is taken to be dead.
    take_over : end another session even if it is alive.

    Attributes
    ----------
    packets_sent, packets_repeated : so far, all of them and those sent again.
    packets_ignored : that came and answered nothing that was asked, by kind.

    Raises
    ------
    LinkError : from any method; see its kinds.
    """

    def __init__(
        self,
        transport: Transport,
        patience: Patience | None = None,
        window: int = 8,
        lease: float = 1.0,
        take_over: bool = False,
    ) -> None:
        self.name = transport.name
        self._transport = transport
        self._patience = patience or Patience()
        self._window = window
        self._lease = lease
        self._take_over = take_over
        self._session = 0
        self._sequence = 0
        self._identity: Identity | None = None
        self.packets_sent = 0
        self.packets_repeated = 0
        self.packets_ignored: Counter[str] = Counter()

    # Session ------------------------------------------------------------------------------------

    def identify(self) -> Identity:
        """Ask the device who it is and who holds it; needs no session and changes nothing."""
        request = Packet(Operation.IDENTIFY, secrets.randbits(32), secrets.randbits(32))
        return Identity.of(self._checked(request, self._exchange(request)).payload)

    def open(self) -> Identity:
        """Begin a session; a session of this client that was open ends.

        Raises
        ------
        LinkBusyError : another session is alive.
        """
        found = self.identify()
        if found.holder and found.holder != self._session and not self._take_over:
            found = self._wait_for(found)
        self._session = 0
        for _ in range(_TICKETS):
            session = secrets.randbelow(_SPAN - 1) + 1
            request = Packet(Operation.OPEN, session, 0, address=found.ticket)
            answer = self._exchange(request)
            if answer.status != Status.WRONG_TICKET:
                self._identity = Identity.of(self._checked(request, answer).payload)
                self._session, self._sequence = session, 1
                return self._identity
            found = self.identify()
        raise LinkBusyError(
            f"{self.name}: {_TICKETS} sessions were opened by others while one was asked for; expected to be "
            "alone. End the other programs"
        )

    def _wait_for(self, found: Identity) -> Identity:
        """Until the holder has gone, or can be taken to be dead."""
        end = self._transport.now() + self._lease
        while self._transport.now() < end:
            self._transport.receive(self._lease / _LOOKS)  # nothing is on its way: this is how to wait
            later = self.identify()
            if not later.holder:
                return later
            if (later.holder, later.last) != (found.holder, found.last):
                raise LinkBusyError(
                    f"{self.name}: in use by {later.holder_name()}, which sent a request just now; expected "
                    "a free device. End that program, or take the device over"
                )
        return found

    def close(self) -> None:
        """End the session, so that the next program finds the device free; no answer is no error here."""
        if self._session:
            packet = Packet(Operation.CLOSE, self._session, self._sequence)
            self._session = 0
            try:
                log = _Log()
                while log.tries < 3:
                    self._send(packet, log)
                    if self._answer(packet.session, packet.sequence.__eq__, self._patience.first, log):
                        break
            except LinkError:
                pass  # the line is gone, and with it what there was to end
        self._transport.close()

    @property
    def identity(self) -> Identity:
        """What the device said when the session was opened; opens one if there is none."""
        if self._session and self._identity:
            return self._identity
        return self.open()

    # Words of the bus -----------------------------------------------------------------------------

    def read(self, address: int, count: int) -> Words:
        """``count`` consecutive words from byte ``address`` on, each read once."""
        most = self.identity.max_words
        parts = [
            self._ask(Operation.READ, address + 4 * at, min(most, count - at)) for at in range(0, count, most)
        ]
        return np.frombuffer(b"".join(parts), "<u4").astype(np.uint32)

    def write(self, address: int, words: Words) -> None:
        """Write consecutive words from byte ``address`` on, each once and in order."""
        raw = np.ascontiguousarray(words, "<u4").tobytes()
        size = 4 * self.identity.max_words
        for at in range(0, len(raw), size):
            self._ask(Operation.WRITE, address + at, payload=raw[at : at + size])

    def _ask(self, operation: Operation, address: int, count: int = 0, payload: bytes = b"") -> bytes:
        """One request at a time: reads and writes of a bus may have effects, so each ends before the next."""
        request = Packet(
            operation, self._session, self._sequence, address, count or len(payload) // 4, payload
        )
        with self._open_number():
            answer = self._exchange(request)
        self._sequence = (self._sequence + 1) % _SPAN
        return self._checked(request, answer).payload

    @contextmanager
    def _open_number(self) -> Iterator[None]:
        """What ends this early leaves numbers open that must never carry anything else: end the session."""
        try:
            yield
        except BaseException:
            self._session = 0
            raise

    # Blocks of device memory ------------------------------------------------------------------------

    def read_block(self, address: int, size: int) -> NDArray[np.uint8]:
        """``size`` bytes of device memory from byte ``address`` of it on: whole beats."""
        packet = self._block(address, size)
        requests = [
            Packet(Operation.READ_BLOCK, 0, 0, address + at, min(packet, size - at) // 4)
            for at in range(0, size, packet)
        ]
        parts = self._stream(requests, wants_data=True)
        return np.frombuffer(b"".join(parts), np.uint8).copy()

    def write_block(self, address: int, data: NDArray[np.uint8]) -> None:
        """Write bytes to device memory from byte ``address`` of it on: whole beats. Later reads see them."""
        raw = np.ascontiguousarray(data, np.uint8).tobytes()
        packet = self._block(address, len(raw))
        pieces = [raw[at : at + packet] for at in range(0, len(raw), packet)]
        requests = [
            Packet(Operation.WRITE_BLOCK, 0, 0, address + packet * i, len(piece) // 4, piece)
            for i, piece in enumerate(pieces)
        ]
        self._stream(requests, wants_data=False)

    def _block(self, address: int, size: int) -> int:
        """Bytes of a packet of whole beats, once the block is known to lie in memory."""
        known = self.identity
        beat = known.beat_bytes
        if not beat or address % beat or size % beat or not 0 <= address <= known.memory_bytes - size:
            raise DeviceMemoryError(
                f"{self.name}: a block of {size} bytes at {address:#x}; expected whole beats of {beat} bytes "
                f"within {known.memory_bytes:#x} bytes of device memory"
            )
        return 4 * known.max_words // beat * beat

    def _stream(self, requests: Sequence[Packet], wants_data: bool) -> list[bytes]:
        """Send requests with several in flight; their payloads."""
        window = Window(requests, self._session, self._sequence, self._window, wants_data)
        with self._open_number():
            self._pump(window)
        self._sequence = (self._sequence + window.sent) % _SPAN
        self.packets_repeated += window.repeated
        return [payload or b"" for payload in window.payloads]

    def _pump(self, window: Window) -> None:
        """Send and receive until the window is complete."""
        log = _Log()
        line = 4 * self._window * (2 * OVERHEAD_WORDS + self.identity.max_words)
        pauses = self._pauses(line)
        while not window.complete:
            pause = next(pauses, None)
            if pause is None:
                raise self._silent(window.requests[0], log)
            while (packet := window.next()) is not None:
                self._send(packet, log)
            answer = self._answer(window.session, window.owns, pause, log)
            if answer is None:
                window.silence()
                continue
            if answer.status != Status.EARLY:
                self._checked(window.request(answer.sequence), answer)
            if window.take(answer):
                pauses = self._pauses(line)

    # Packets --------------------------------------------------------------------------------------

    def _exchange(self, request: Packet) -> Packet:
        """Send a request until its answer comes."""
        log = _Log()
        for pause in self._pauses(4 * (2 * OVERHEAD_WORDS + request.count)):
            self._send(request, log)
            answer = self._answer(request.session, request.sequence.__eq__, pause, log)
            if answer is not None:
                self.packets_repeated += log.tries - 1
                return answer
        raise self._silent(request, log)

    def _send(self, packet: Packet, log: _Log) -> None:
        log.tries += 1
        self.packets_sent += 1
        self._transport.send(packet.encode())

    def _pauses(self, size: int) -> Iterator[float]:
        """Waits for an answer while ``size`` bytes go over the line, until the deadline has passed."""
        line = size / self._transport.bytes_per_second
        pause, end = self._patience.first, self._transport.now() + self._patience.deadline + line
        while (now := self._transport.now()) < end:
            yield min(pause + line, end - now)
            pause = min(pause * self._patience.factor, self._patience.longest)

    def _answer(self, session: int, owns: Callable[[int], bool], pause: float, log: _Log) -> Packet | None:
        """The next packet that is an answer to what is asked here; ``None`` if none comes in time."""
        end = self._transport.now() + pause
        left = pause
        while (raw := self._transport.receive(max(left, 0.0))) is not None:
            try:
                packet = decode(raw)
            except DamagedPacketError:
                reason = "damaged"
            else:
                if not packet.answer:
                    reason = "that are no answers"
                elif packet.session != session:
                    reason = "of another session"
                elif not owns(packet.sequence):
                    reason = "of another request"
                else:
                    return packet
            log.seen[reason] += 1
            self.packets_ignored[reason] += 1
            left = end - self._transport.now()
            if left < 0:
                break
        return None

    def _checked(self, request: Packet, answer: Packet) -> Packet:
        """The answer, if the request ended well and this is what was asked for."""
        wanted = 4 * (request.count if request.operation in (Operation.READ, Operation.READ_BLOCK) else 0)
        if request.operation in (Operation.IDENTIFY, Operation.OPEN):
            wanted = 4 * IDENTITY_WORDS
        if (
            answer.status == Status.OK
            and answer.operation == request.operation
            and len(answer.payload) == wanted
        ):
            return answer
        asked = f"{self.name}: {_named(Operation, request.operation)} at {request.address:#x}"
        if answer.status in (Status.WRONG_SESSION, Status.EARLY):
            self._session = 0
            raise SessionLostError(
                f"{asked}: the device is in session {answer.address:08x}, not {answer.session:08x}: it was "
                "reset, or another program opened it. Set up the device again",
                status=answer.status,
                address=answer.address,
            )
        if answer.status == Status.OK:
            self._session = 0
            raise LinkError(
                f"{asked}: answered with {len(answer.payload)} bytes to operation {answer.operation}; "
                f"expected {wanted} bytes: the device does not keep to docs/link.md",
            )
        raise LinkError(
            f"{asked}: {_named(Status, answer.status)} at {answer.address:#x}. "
            f"{_HELP.get(answer.status, 'The device speaks another version of the link')}",
            status=answer.status,
            address=answer.address,
        )

    def _silent(self, request: Packet, log: _Log) -> LinkError:
        return LinkError(
            f"{self.name}: no answer to {_named(Operation, request.operation)} at {request.address:#x}, sent "
            f"{log.tries} times within {self._patience.deadline:g} s; came: {log}. Whether it was executed "
            "is not known. Check that the board is on, its address, and the cable",
            tries=log.tries,
        )


def _named(names: type[Operation] | type[Status], value: int) -> str:
    try:
        return names(value).name
    except ValueError:
        return f"{names.__name__.lower()} {value}"
