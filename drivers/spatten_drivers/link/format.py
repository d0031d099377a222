# SPDX-License-Identifier: BSD-2-Clause
"""Packets of the link SpL: the tables of ``docs/link.md``, and words to bytes and back.

A packet is a header, a payload and a CRC-32, all little-endian 32-bit words. Gateware, client, model and page
read the tables here.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from ..errors import OperandError
from ..fields import Field, Table, Word, whole

MAGIC = int.from_bytes(b"SpL", "little")
VERSION = 1
#: UDP port that a device listens on unless it is told another one.
UDP_PORT = 5392
#: Most payload words: 1408 bytes, whole beats of any width, and the packet fits an Ethernet frame.
MAX_WORDS = 352
HEADER_WORDS = 5
#: Words of a packet that are not payload: the header and the CRC.
OVERHEAD_WORDS = HEADER_WORDS + 1
#: Bytes of the longest packet.
LONGEST = 4 * (MAX_WORDS + OVERHEAD_WORDS)
#: Words of the payload of an answer to ``IDENTIFY`` and ``OPEN``.
IDENTITY_WORDS = 8


class Operation(IntEnum):
    """What a request asks for."""

    IDENTIFY = 0
    OPEN = 1
    CLOSE = 2
    READ = 4
    WRITE = 5
    READ_BLOCK = 6
    WRITE_BLOCK = 7


class Status(IntEnum):
    """How a request ended."""

    OK = 0
    BAD_REQUEST = 1
    BAD_ADDRESS = 2
    BUS_ERROR = 3
    BUS_TIMEOUT = 4
    MEMORY_ERROR = 5
    SKIPPED = 6
    EARLY = 8
    WRONG_SESSION = 9
    WRONG_TICKET = 10


OPERATION_HELP: dict[Operation, str] = {
    Operation.IDENTIFY: "Who is there, in what state, and a ticket for a session. Needs no session.",
    Operation.OPEN: "Begin the session `SESSION` with the ticket in `ADDRESS`; any other session ends.",
    Operation.CLOSE: "End the session.",
    Operation.READ: "`COUNT` consecutive words of the bus from byte address `ADDRESS`.",
    Operation.WRITE: "The payload to consecutive words of the bus from byte address `ADDRESS`.",
    Operation.READ_BLOCK: "`COUNT` words of device memory, whole beats, from byte `ADDRESS` of it.",
    Operation.WRITE_BLOCK: "The payload, whole beats, to device memory from byte `ADDRESS` of it.",
}

STATUS_HELP: dict[Status, str] = {
    Status.OK: "Done. A write to memory is seen by every later read.",
    Status.BAD_REQUEST: "Unknown operation, or `COUNT` fits neither it nor the packet. Nothing was executed.",
    Status.BAD_ADDRESS: "Not on a word or beat boundary, not in whole beats, or outside of device memory. "
    "Nothing was executed.",
    Status.BUS_ERROR: "The bus refused `ADDRESS`. The words before it were executed, no later one.",
    Status.BUS_TIMEOUT: "The bus was silent at `ADDRESS`. The words before it were executed, no later one.",
    Status.MEMORY_ERROR: "Device memory reported an error while this request was executed.",
    Status.SKIPPED: "The request was chained and the one before it did not end with `OK`. "
    "Nothing was executed; `ADDRESS` is that of the failure.",
    Status.EARLY: "A request before this one is missing: `ADDRESS` is the sequence number that was executed "
    "last. Nothing was executed; send on from the next.",
    Status.WRONG_SESSION: "The device is in session `ADDRESS`, or in none (0). Nothing was executed.",
    Status.WRONG_TICKET: "The ticket was used or never given: ask `IDENTIFY` for one. Nothing was executed.",
}

HEADER = Table(
    (
        Word(
            "MAGIC",
            0,
            (
                Field("MAGIC", 0, 24, "The letters SpL.", MAGIC),
                Field("VERSION", 24, 8, "Of this format. Another one is dropped.", VERSION),
            ),
        ),
        whole("SESSION", 1, "A random number, not 0, that the client chose. `IDENTIFY`: any number."),
        whole("SEQUENCE", 2, "Number of the request in its session; each is one more than the one before."),
        Word(
            "OPERATION",
            3,
            (
                Field("OPERATION", 0, 4, "What to do."),
                Field("CHAINED", 4, 1, "Only if the request before it ended with `OK`."),
                Field("ANSWER", 5, 1, "1 in an answer, 0 in a request."),
                Field(
                    "STATUS", 8, 8, "In an answer, how the request ended. In a request 0, and not looked at."
                ),
                Field(
                    "COUNT",
                    16,
                    16,
                    "Words of payload that follow, or that are asked for; 0 if there are none.",
                ),
            ),
        ),
        whole("ADDRESS", 4, "Byte address, or what the operation or status says."),
    )
)

IDENTITY = Table(
    (
        Word(
            "LIMITS",
            0,
            (
                Field("MAX_WORDS", 0, 16, "Greatest `COUNT`."),
                Field(
                    "BEAT_BYTES", 16, 8, "Bytes of a beat of device memory; 0 if there is no block access."
                ),
            ),
        ),
        whole("MEMORY_BYTES", 1, "Bytes of device memory."),
        whole("TICKET", 2, "What `OPEN` must present. It serves once."),
        whole("HOLDER", 3, "The session the device is in, 0 for none."),
        whole("LAST", 4, "Sequence number that was executed last in it."),
        whole("HOLDER_IP", 5, "IPv4 address the session was opened from; 0 on a serial line."),
        Word(
            "HOLDER_PORT",
            6,
            (Field("HOLDER_PORT", 0, 16, "UDP port the session was opened from."),),
        ),
        Word(
            "DROPPED",
            7,
            (
                Field(
                    "DAMAGED",
                    0,
                    16,
                    "Packets that were dropped for their CRC, length or magic; stops at 65535.",
                ),
                Field("STALE", 16, 16, "Late duplicates that were dropped; stops at 65535."),
            ),
        ),
    )
)

_PREFIX = struct.Struct("<5I")
# Every packet passes here: the places of the fields are looked up once.
_OPERATION, _CHAINED, _ANSWER, _STATUS, _COUNT = HEADER[3].fields
_FIRST = MAGIC | VERSION << 24


class DamagedPacketError(OperandError):
    """Bytes that are no packet; the message says what is wrong with them."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A request or an answer, header field by header field; ``payload`` is bytes of whole words."""

    operation: int
    session: int
    sequence: int
    address: int = 0
    count: int = 0
    payload: bytes = b""
    chained: bool = False
    answer: bool = False
    status: int = 0

    def encode(self) -> bytes:
        """As it goes over the line, CRC included."""
        word = self.operation << _OPERATION.lsb | self.chained << _CHAINED.lsb | self.answer << _ANSWER.lsb
        word |= self.status << _STATUS.lsb | self.count << _COUNT.lsb
        body = _PREFIX.pack(_FIRST, self.session, self.sequence, word, self.address) + self.payload
        return body + zlib.crc32(body).to_bytes(4, "little")


def decode(raw: bytes) -> Packet:
    """The inverse of :meth:`Packet.encode`.

    Raises
    ------
    DamagedPacketError : too short, no whole words, wrong CRC, magic or version.
    """
    if len(raw) < 4 * OVERHEAD_WORDS or len(raw) % 4:
        raise DamagedPacketError(
            f"{len(raw)} bytes are no packet; expected whole words, {OVERHEAD_WORDS} or more"
        )
    if zlib.crc32(raw[:-4]) != int.from_bytes(raw[-4:], "little"):
        raise DamagedPacketError("the CRC does not match")
    first, session, sequence, word, address = _PREFIX.unpack_from(raw)
    if first != _FIRST:
        raise DamagedPacketError(f"begins with {raw[:4]!r}; expected {_FIRST.to_bytes(4, 'little')!r}")
    return Packet(
        word >> _OPERATION.lsb & _OPERATION.mask,
        session,
        sequence,
        address,
        word >> _COUNT.lsb & _COUNT.mask,
        raw[_PREFIX.size : -4],
        bool(word >> _CHAINED.lsb & 1),
        bool(word >> _ANSWER.lsb & 1),
        word >> _STATUS.lsb & _STATUS.mask,
    )
