# SPDX-License-Identifier: BSD-2-Clause
"""Etherbone as LiteEth speaks it: 32-bit addresses and data, one record a packet, all big-endian.

A packet is 8 bytes of header (magic 0x4e6f, version and flags, sizes, padding) and one record: 4 bytes of
header (flags, byte enables, words written, words read), then ``base, word...`` if it writes and
``return address, address...`` if it reads. The answer to reads is a packet whose record writes what was read
to the return address. LiteEth hands that address back unchanged, so it is where we put a tag.

Source: ``liteeth/frontend/etherbone.py`` and ``liteeth/common.py`` of LiteEth 2024.12.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_HEADER = bytes.fromhex("4e6f104400000000")
_VERSION_BYTE, _FLAGS = 2, 0x07
#: Words of a record besides those written and read: the base address and the return address.
ADDRESS_WORDS = 2
#: Most words written or read by a record; the counts are bytes.
MAX_COUNT = 255


class Answer(NamedTuple):
    """An answer to reads: the tag of the request and the words."""

    tag: int
    words: NDArray[np.uint32]


def encode_request(base: int, words: NDArray[np.uint32], tag: int, addresses: NDArray[np.uint32]) -> bytes:
    """A packet that writes ``words`` from byte address ``base`` on, then reads ``addresses`` in turn."""
    if not len(words) + len(addresses) > 0 or max(len(words), len(addresses)) > MAX_COUNT:
        raise ValueError(
            f"a record of {len(words)} writes and {len(addresses)} reads; at most {MAX_COUNT} each"
        )
    parts = [_HEADER, bytes([0, 0x0F, len(words), len(addresses)])]
    if len(words):
        parts += [base.to_bytes(4, "big"), words.astype(">u4").tobytes()]
    if len(addresses):
        parts += [tag.to_bytes(4, "big"), addresses.astype(">u4").tobytes()]
    return b"".join(parts)


def decode_answer(packet: bytes) -> Answer | None:
    """The answer in ``packet``, or nothing if it is not a whole and well-formed one."""
    if len(packet) < 20 or len(packet) % 4:
        return None
    head = bytearray(packet[:8])
    head[_VERSION_BYTE] &= ~_FLAGS  # no-reads and probe flags say nothing about an answer
    if bytes(head) != _HEADER:
        return None
    count, reads = packet[10], packet[11]
    if reads or len(packet) != 16 + 4 * count:
        return None
    tag = int.from_bytes(packet[12:16], "big")
    return Answer(tag, np.frombuffer(packet, ">u4", count, 16).astype(np.uint32))
