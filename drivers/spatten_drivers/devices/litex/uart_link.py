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

from .channel import Channel
from .link import Exchange, Link, NoAnswer, Words

_WRITE, _READ = 1, 2
#: Seconds of silence after which the bridge surely waits for a new command.
QUIET = 0.15
#: Bytes sent that no answer has confirmed yet; LiteX's simulated port has 2,048 and no check.
MAX_UNCONFIRMED = 512
_HEAD_BYTES = 6


class UartLink(Link):
    """A serial port, or a TCP stream of the same bytes.

    A lost byte shifts those behind it: a read is repeated after a silence, a write cannot be taken back.
    Before, between and behind the runs of words that are read, the bridge is asked for a word that is known,
    the marker, so that a byte too many or too few shows wherever it happens.

    Parameters
    ----------
    channel : bytes to and from the bridge.
    marker : byte address of a register that never changes, and its value of four different bytes.
    baud : bits a second of the line; one of TCP takes as long as is given here at most.
    """

    resends_writes = False
    max_words = 128
    max_copies = 2
    lifetime = 0.0
    max_writes = (MAX_UNCONFIRMED // 2 - 2 * _HEAD_BYTES) // 4

    def __init__(self, channel: Channel, marker: tuple[int, int], baud: int = 115200) -> None:
        self.name, self.counts = channel.name, Counter()
        self._channel, self._clean = channel, False
        self._marker, self._marker_bytes = marker[0], marker[1].to_bytes(4, "big")
        self.first_timeout = 0.25 + 2 * 10 * (MAX_UNCONFIRMED + 4 * self.max_words) / baud

    def exchange(self, request: Exchange, timeout: float) -> Words:
        if not self._clean:
            self._fall_silent()
        self._clean = False
        runs = _runs(request.reads)
        if request.words.size:
            self._channel.send(_command(_WRITE, request.base, len(request.words)) + _bytes(request.words))
        mark = _command(_READ, self._marker, 1)
        self._channel.send(mark + b"".join(_command(_READ, *run) + mark for run in runs))
        answer = self._receive(4 * (len(request.reads) + len(runs) + 1), timeout)
        words = self._without_markers(answer, runs)
        self._clean = True
        return words

    def _without_markers(self, answer: bytes, runs: list[tuple[int, int]]) -> Words:
        parts, at = [], 0
        for _, count in [*runs, (0, 0)]:
            if answer[at : at + 4] != self._marker_bytes:
                self.counts["shifted"] += 1
                raise NoAnswer(
                    f"{self.name}: {answer[at : at + 4].hex(' ')} came where the register at "
                    f"{self._marker:#x} reads {self._marker_bytes.hex(' ')}: bytes were lost or doubled, "
                    "the baud rate is wrong, or no SpAtten of this csr.json is there"
                )
            parts.append(answer[at + 4 : at + 4 + 4 * count])
            at += 4 + 4 * count
        return np.frombuffer(b"".join(parts), ">u4").astype(np.uint32)

    def settle(self) -> None:
        if not self._clean:
            self._fall_silent()

    def _receive(self, size: int, timeout: float) -> bytes:
        data, deadline = b"", self.now() + timeout
        while len(data) < size and (left := deadline - self.now()) > 0:
            data += self._channel.receive(size - len(data), left)
        if len(data) < size:
            self.counts["lost"] += 1
            raise NoAnswer(f"{self.name}: {len(data)} of {size} bytes within {timeout:g} s")
        if self._channel.receive(1, 0.0):  # more than was asked for: a byte too many may lie anywhere
            self.counts["foreign"] += 1
            raise NoAnswer(f"{self.name}: more than the {size} bytes that were asked for")
        return data

    def _fall_silent(self) -> None:
        """Wait until the bridge has forgotten half a command, and forget what it still sends."""
        while dropped := self._channel.receive(4096, QUIET):
            self.counts["late"] += len(dropped)
        self._clean = True

    def sleep(self, seconds: float) -> None:
        self._channel.sleep(seconds)

    def now(self) -> float:
        return self._channel.now()

    def close(self) -> None:
        self._channel.close()


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
