# SPDX-License-Identifier: BSD-2-Clause
"""A device to talk to, and random transfers of which every answer is known: for the model and the gateware.

The bus of the device has words that hold what is written, a register whose every write counts, one whose
every read counts, an address that answers with an error and one that never answers.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from spatten_drivers.link import LinkClient, LinkError, Status
from spatten_drivers.link.model import BusFault, ModelBus

RAM_WORDS = 1024
PUSH = 0x1000  # a write adds a word to the journal
COUNT = 0x2000  # a read gives how many reads there were before
ERROR = 0x3000
SILENT = 0x4000
MEMORY_BYTES = 1 << 14


class Scratch(ModelBus):
    """That bus."""

    def __init__(self) -> None:
        self.ram = [0] * RAM_WORDS
        self.journal: list[int] = []
        self.reads = 0

    def read_word(self, address: int) -> int:
        if address >> 12 == COUNT >> 12:
            self.reads += 1
            return self.reads - 1
        return self.ram[self._place(address)]

    def write_word(self, address: int, value: int) -> None:
        if address >> 12 == PUSH >> 12:
            self.journal.append(value)
        else:
            self.ram[self._place(address)] = value

    def _place(self, address: int) -> int:
        if address >= SILENT:
            raise BusFault(Status.BUS_TIMEOUT)
        if address >= PUSH:
            raise BusFault(Status.BUS_ERROR)
        return address // 4


class Exercise:
    """Random transfers through a client, and what the device must hold after them.

    Parameters
    ----------
    client : connected to the device.
    seed : of what is sent.
    beat : bytes of a beat of device memory.
    largest : most words of a transfer of the bus, and most packets of a block.

    Attributes
    ----------
    transfers : calls of the client so far.
    journal : words that must have been pushed, in order.
    memory, ram : what must be in device memory and behind the bus.
    """

    def __init__(self, client: LinkClient, seed: int, beat: int, largest: tuple[int, int] = (40, 3)) -> None:
        self.client = client
        self.rng = random.Random(seed)
        self.beat = beat
        self.largest = largest
        self.transfers = 0
        self.journal: list[int] = []
        self.reads = 0
        self.ram = np.zeros(RAM_WORDS, np.uint32)
        self.memory = np.zeros(MEMORY_BYTES, np.uint8)

    def run(self, transfers: int) -> None:
        """So many of them; raises AssertionError at the first wrong answer."""
        acts: list[Callable[[], None]] = [
            self.write_words,
            self.read_words,
            self.push,
            self.count,
            self.write_block,
            self.read_block,
            self.fail,
        ]
        for act in self.rng.choices(acts, [4, 4, 4, 2, 3, 3, 1], k=transfers):
            act()
            self.transfers += 1

    def _span(self) -> tuple[int, int]:
        count = self.rng.choice((1, 1, 1, 2, self.rng.randint(1, self.largest[0])))
        return self.rng.randrange(RAM_WORDS - count + 1), count

    def _words(self, count: int) -> np.ndarray:
        return np.frombuffer(self.rng.randbytes(4 * count), "<u4").astype(np.uint32)

    def write_words(self) -> None:
        at, count = self._span()
        words = self._words(count)
        self.ram[at : at + count] = words
        self.client.write(4 * at, words)

    def read_words(self) -> None:
        at, count = self._span()
        np.testing.assert_array_equal(self.client.read(4 * at, count), self.ram[at : at + count])

    def push(self) -> None:
        """Not idempotent: a second execution shows in the journal."""
        words = self._words(self.rng.choice((1, 1, 3)))
        self.journal += words.tolist()
        self.client.write(PUSH, words)

    def count(self) -> None:
        """A read with an effect."""
        count = self.rng.choice((1, 2, 5))
        got = self.client.read(COUNT, count)
        assert got.tolist() == list(range(self.reads, self.reads + count))
        self.reads += count

    def _block(self) -> tuple[int, int]:
        beats = self.rng.choice((1, 2, self.rng.randint(1, 352 * 4 * self.largest[1] // self.beat)))
        size = self.beat * beats
        return self.beat * self.rng.randrange((MEMORY_BYTES - size) // self.beat + 1), size

    def write_block(self) -> None:
        at, size = self._block()
        data = np.frombuffer(self.rng.randbytes(size), np.uint8)
        self.memory[at : at + size] = data
        self.client.write_block(at, data)

    def read_block(self) -> None:
        at, size = self._block()
        np.testing.assert_array_equal(self.client.read_block(at, size), self.memory[at : at + size])

    def fail(self) -> None:
        """Errors of the bus are told, with what was done before them and nothing after."""
        address, status = self.rng.choice(((ERROR, Status.BUS_ERROR), (SILENT, Status.BUS_TIMEOUT)))
        if address == ERROR and self.rng.random() < 0.5:
            words = self._words(3)
            self.journal.append(int(words[0]))
            at = COUNT - 4  # the last word that is pushed; the next one counts reads, and takes no writes
            self._refused(lambda: self.client.write(at, words), Status.BUS_ERROR, COUNT)
        elif self.rng.random() < 0.5:
            self._refused(lambda: self.client.write(address, self._words(2)), status, address)
        else:
            self._refused(lambda: self.client.read(address, 2), status, address)

    @staticmethod
    def _refused(call: Callable[[], object], status: Status, address: int) -> None:
        with pytest.raises(LinkError) as caught:
            call()
        assert (caught.value.status, caught.value.address) == (status, address)
