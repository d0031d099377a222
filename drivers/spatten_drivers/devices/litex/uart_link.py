# SPDX-License-Identifier: BSD-2-Clause
"""LiteX's UART bridge (UARTBone): commands and words as bare bytes, with nothing that protects them.

A command is ``kind, words, word address (4 bytes)`` and the words if it writes; a read is answered by its
words alone, a write by nothing. All is big-endian. A command that is not whole within 100 ms is forgotten by
the bridge.

Source: ``Stream2Wishbone`` in ``litex/soc/cores/uart.py`` of LiteX 2024.12.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from ...link.channel import Channel
from .link import Exchange, Link, NoAnswer, Words

_WRITE, _READ = 1, 2
#: Seconds of silence after which the bridge surely waits for a new command.
QUIET = 0.15
#: Seconds that a command, its words included, may take on the line: the bridge forgets it after 0.1.
_COMMAND_SECONDS = 0.08
#: Bytes sent that no answer has confirmed yet; LiteX's simulated port has 2,048 and no check.
MAX_UNCONFIRMED = 512
_HEAD_BYTES = 6


class UartLink(Link):
    """A serial port, or a TCP stream of the same bytes.

    The bridge is deaf while it answers, so each command waits for the answer before. A lost byte shifts those
    behind it: a read is repeated after a silence, a write cannot be taken back. Behind all that was asked
    for the bridge is asked for a word that is known, the marker: a byte too many shows there.

    Parameters
    ----------
    channel : bytes to and from the bridge.
    marker : byte address of a register that never changes, and its value of four different bytes.
    baud : bits a second of the line; one of TCP takes as long as is given here at most.
    """

    resends_writes = False
    max_copies = 2
    lifetime = 0.0

    def __init__(self, channel: Channel, marker: tuple[int, int], baud: int = 115200) -> None:
        self.name, self.counts = channel.name, Counter()
        self._channel, self._clean = channel, False
        burst = (min(MAX_UNCONFIRMED // 2, int(baud / 10 * _COMMAND_SECONDS)) - 2 * _HEAD_BYTES) // 4
        self.max_writes = max(1, burst)
        self.max_words = 2 * self.max_writes
        self.first_timeout = 0.25 + 2 * 10 * (MAX_UNCONFIRMED + 4 * self.max_words) / baud
        self._marker, self._marker_bytes = marker[0], marker[1].to_bytes(4, "big")

    def exchange(self, request: Exchange, timeout: float) -> Words:
        if not self._clean:
            self._fall_silent()
        self._clean = False
        if request.words.size:
            self._channel.send(_command(_WRITE, request.base, len(request.words)) + _bytes(request.words))
        deadline = self.now() + timeout
        data = b"".join(self._read(*run, deadline) for run in _runs(request.reads))
        if (found := self._read(self._marker, 1, deadline)) != self._marker_bytes:
            self.counts["shifted"] += 1
            raise NoAnswer(
                f"{self.name}: {found.hex(' ')} came where the register at {self._marker:#x} reads "
                f"{self._marker_bytes.hex(' ')}: bytes were lost or doubled, the baud rate is wrong, or no "
                "SpAtten of this csr.json is there"
            )
        self._clean = True
        return np.frombuffer(data, ">u4").astype(np.uint32)

    def _read(self, address: int, count: int, deadline: float) -> bytes:
        """The bytes of a run of words."""
        self._channel.send(_command(_READ, address, count))
        data = b""
        while len(data) < 4 * count and (left := deadline - self.now()) > 0:
            data += self._channel.receive(4 * count - len(data), left)
        if len(data) < 4 * count:
            self.counts["lost"] += 1
            raise NoAnswer(f"{self.name}: {len(data)} of {4 * count} bytes came in time")
        if self._channel.receive(1, 0.0):  # more than was asked for: a byte too many may lie anywhere
            self.counts["shifted"] += 1
            raise NoAnswer(f"{self.name}: more than the {4 * count} bytes that were asked for")
        return data

    def settle(self) -> None:
        if not self._clean:
            self._fall_silent()

    def _fall_silent(self) -> None:
        """Wait until the bridge has forgotten half a command, and forget what it still sends."""
        while dropped := self._channel.receive(4096, QUIET):
            self.counts["late"] += len(dropped)
        self._clean = True


def _runs(addresses: Words) -> list[tuple[int, int]]:
    """``(first address, words)`` of each run of consecutive words."""
    if not len(addresses):
        return []
    breaks = np.flatnonzero(np.diff(addresses.astype(np.int64)) != 4) + 1
    return [(int(run[0]), len(run)) for run in np.split(addresses, breaks)]


def _command(kind: int, address: int, count: int) -> bytes:
    return bytes([kind, count]) + (address // 4).to_bytes(4, "big")


def _bytes(words: Words) -> bytes:
    return words.astype(">u4").tobytes()
