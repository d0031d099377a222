# SPDX-License-Identifier: BSD-2-Clause
"""A bus that asks twice and reads back, so that what a link loses or damages is repeated or reported."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from ...errors import DeviceError, LinkDamageError, LinkError, LinkTimeoutError, UnconfirmedWriteError
from ..bus import Bus
from .link import Exchange, Link, NoAnswer, Words

ATTEMPTS = 8


class _Written(NamedTuple):
    """A range of memory, and until when a repeated packet may still write it."""

    first: int
    end: int
    until: float


class CheckedBus(Bus):
    """32-bit words over a link that is not to be trusted.

    A read asks for every word at least twice in one request and believes copies that are equal. A write to
    memory is read back in the same request. A write to a register is confirmed by an answer and never sent
    twice: see :class:`UnconfirmedWriteError`.

    Parameters
    ----------
    link : the bridge.
    memory : addresses that hold what was written to them, so that it can be read back and written again.
    """

    def __init__(self, link: Link, memory: range = range(0)) -> None:
        self.name, self.link, self._memory = link.name, link, memory
        self._owner = os.getpid()
        self._written: deque[_Written] = deque()
        self._read_words = max(1, min(link.max_words // 2, 255 // 2))
        self._write_words = max(1, min(link.max_words // 2, link.max_writes))

    def read(self, address: int, count: int) -> Words:
        self._check_owner()
        words = np.empty(count, np.uint32)
        for first in range(0, count, self._read_words):
            part = words[first : first + self._read_words]
            part[:] = self._read_part(address + 4 * first, len(part))
        return words

    def write(self, address: int, words: Words) -> None:
        self._check_owner()
        if address in self._memory and address + 4 * len(words) - 4 in self._memory:
            self._write_memory(address, words)
        else:
            for i, word in enumerate(words):
                self._write_register(address + 4 * i, word)

    @property
    def counts(self) -> Mapping[str, int]:
        """Faults that were detected so far, by kind."""
        return self.link.counts

    def close(self) -> None:
        if os.getpid() == self._owner:
            self.link.close()

    def _read_part(self, address: int, count: int) -> Words:
        copies = min(self.link.max_copies, max(2, self.link.max_words // count))
        for answer in self._answers(Exchange(reads=np.tile(_addresses(address, count), copies))):
            first = answer[:count]
            if (answer.reshape(copies, count) == first).all():
                return first
            self.link.counts["disagreed"] += 1
        raise LinkError(
            f"{self.name}: {count} words at {address:#x} read differently every time, {ATTEMPTS} times. "
            "Check the cable and the power of the board"
        )

    def _write_memory(self, address: int, words: Words) -> None:
        self._let_repeats_pass(address, address + 4 * len(words))
        for first in range(0, len(words), self._write_words):
            self._write_part(address + 4 * first, words[first : first + self._write_words])
        self.link.settle()
        now = self.link.now()
        self._written.append(_Written(address, address + 4 * len(words), now + self.link.lifetime))

    def _write_part(self, address: int, words: Words) -> None:
        request = Exchange(address, words, _addresses(address, len(words)))
        for answer in self._answers(request):
            if (answer == words).all():
                return
            self.link.counts["disagreed"] += 1
            if (self._read_part(address, len(words)) == words).all():
                return  # only the answer was damaged
            break
        raise LinkDamageError(
            f"{self.name}: memory at {address:#x} does not hold the {len(words)} words just written: the "
            "request was damaged on its way, or the memory is bad. Other memory may be damaged too: check "
            "the link and the memory (spatten doctor --device), open the device again and start anew"
        )

    def _write_register(self, address: int, word: np.uint32) -> None:
        request = Exchange(address, np.array([word], np.uint32), _addresses(address, 1))
        try:
            self.link.exchange(request, self.link.first_timeout)
        except NoAnswer as error:
            self.link.settle()
            self._give_up_if_unsafe(address, error)
            raise UnconfirmedWriteError(
                f"{self.name}: nothing confirms that the register at {address:#x} took {int(word):#x} "
                f"({error})"
            ) from error

    def _answers(self, request: Exchange) -> Iterator[Words]:
        """Answers to as many copies of a request as are wanted, until there is no patience left."""
        timeout, answered = self.link.first_timeout, False
        last: NoAnswer | None = None
        for _ in range(ATTEMPTS):
            try:
                answer = self.link.exchange(request, timeout)
            except NoAnswer as error:
                timeout, last = 2 * timeout, error
                if len(request.words):
                    self._give_up_if_unsafe(request.base, error)
                continue
            answered = True
            yield answer
        if not answered:
            raise LinkTimeoutError(
                f"{self.name}: no valid answer to {ATTEMPTS} requests ({last}). Is the board on, its "
                "bitstream loaded, the address right, and no record longer than the core buffers (option "
                "depth)?"
            ) from last

    def _give_up_if_unsafe(self, address: int, error: NoAnswer) -> None:
        if not self.link.resends_writes:
            raise LinkDamageError(
                f"{self.name}: a write to {address:#x} has no answer ({error}), and on this kind of link a "
                "lost byte may have sent it anywhere. Open the device again and start anew"
            ) from error

    def _let_repeats_pass(self, first: int, end: int) -> None:
        """Memory is written again only when no repeated packet can bring its old words back."""
        now = self.link.now()
        while self._written and self._written[0].until <= now:
            self._written.popleft()
        if until := max((w.until for w in self._written if w.first < end and first < w.end), default=0.0):
            self.link.sleep(until - now)

    def _check_owner(self) -> None:
        if os.getpid() != self._owner:
            raise DeviceError(
                f"{self.name}: opened by process {self._owner}, used by its child {os.getpid()}. A board "
                "has one user: open it in the process that uses it"
            )


def _addresses(first: int, count: int) -> Words:
    return (first + 4 * np.arange(count)).astype(np.uint32)
