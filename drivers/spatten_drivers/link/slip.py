# SPDX-License-Identifier: BSD-2-Clause
"""Frames on a line of bytes, as RFC 1055 (SLIP) has them."""

from __future__ import annotations

END, ESCAPE, ESCAPED_END, ESCAPED_ESCAPE = 0xC0, 0xDB, 0xDC, 0xDD


def frame(packet: bytes) -> bytes:
    """The bytes of a frame. It begins with an end too: what noise left on the line is no part of it."""
    body = packet.replace(bytes([ESCAPE]), bytes([ESCAPE, ESCAPED_ESCAPE]))
    return bytes([END]) + body.replace(bytes([END]), bytes([ESCAPE, ESCAPED_END])) + bytes([END])


class Deframer:
    """Bytes in pieces of any size to packets.

    Parameters
    ----------
    longest : bytes of a packet; what is longer is dropped up to the next end.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._held = bytearray()

    def push(self, data: bytes) -> list[bytes]:
        """Packets that are whole with these bytes; empty frames are none."""
        *ended, rest = data.split(bytes([END]))
        found = []
        for piece in ended:
            self._held += piece
            found.append(_plain(bytes(self._held)))
            self._held.clear()
        self._held += rest
        if len(self._held) > 2 * self._longest:
            del self._held[2 * self._longest + 1 :]  # stays too long until an end comes
        return [packet for packet in found if 0 < len(packet) <= self._longest]


def _plain(body: bytes) -> bytes:
    """Without escapes; an escape of anything else is damage, which the packet's CRC shows."""
    first = body.replace(bytes([ESCAPE, ESCAPED_END]), bytes([END]))
    return first.replace(bytes([ESCAPE, ESCAPED_ESCAPE]), bytes([ESCAPE]))
