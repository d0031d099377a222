# SPDX-License-Identifier: BSD-2-Clause
"""A test of device memory over the bus: data lines, cells of a window, address lines, random words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import DramError, LinkDamageError
from ..bus import Bus

Words = NDArray[np.uint32]


class MemoryTest:
    """Destroys what memory held.

    Parameters
    ----------
    bus : to the system; one that reads back what it writes is fine, as its complaint is taken as a finding.
    base, size : of memory, in bytes.
    window : bytes whose every cell is tested; the address lines are tested over all of memory.
    """

    def __init__(self, bus: Bus, base: int, size: int, window: int) -> None:
        self._bus, self._base, self._size = bus, base, size
        self._words = min(window, size) // 4

    def run(self, seed: int = 1) -> None:
        """All parts.

        Raises
        ------
        DramError : with the part that failed, the first wrong address, what was written and what was read.
        """
        self.data_lines()
        self.march()
        self.address_lines()
        self.random_words(seed)

    def data_lines(self) -> None:
        """A one that walks through a word, and a zero."""
        ones = (1 << np.arange(32, dtype=np.uint64)).astype(np.uint32)
        self._write("data lines", 0, walking := np.concatenate([ones, ~ones]))
        self._expect("data lines", 0, walking)

    def march(self) -> None:
        """Every bit of the window is written to 0, 1 and 0, and read before it is written again (MATS++)."""
        zeros, ones = np.zeros(self._words, np.uint32), np.full(self._words, 0xFFFFFFFF, np.uint32)
        self._write("march", 0, zeros)
        for before, after, upwards in ((zeros, ones, True), (ones, zeros, False)):
            starts = range(0, self._words, 64)
            for start in starts if upwards else reversed(starts):
                self._expect("march", 4 * start, before[start : start + 64])
                self._write("march", 4 * start, after[start : start + 64])
        self._expect("march", 0, zeros)

    def address_lines(self) -> None:
        """A word of its own at 0 and at every power of two: a stuck or crossed line merges two of them."""
        offsets = [0, *(1 << bit for bit in range(2, (self._size - 1).bit_length()))]
        words = {at: np.array([0xA5000000 ^ at * 0x9E3779B1 & 0xFFFFFFFF], np.uint32) for at in offsets}
        for at, word in words.items():
            self._write("address lines", at, word)
        for at, word in words.items():
            self._expect("address lines", at, word)

    def random_words(self, seed: int) -> None:
        """Random words in the window, read when all of them are written."""
        words = np.random.default_rng(seed).integers(0, 1 << 32, self._words, dtype=np.uint32)
        self._write("random words", 0, words)
        self._expect("random words", 0, words)

    def _write(self, part: str, offset: int, words: Words) -> None:
        try:
            self._bus.write(self._base + offset, words)
        except LinkDamageError as error:
            self._expect(part, offset, words)
            raise DramError(f"memory test, {part}: {error}") from error

    def _expect(self, part: str, offset: int, words: Words) -> None:
        read = self._bus.read(self._base + offset, len(words))
        if len(wrong := np.flatnonzero(read != words)):
            first = int(wrong[0])
            raise DramError(
                f"memory test, {part}: {len(wrong)} of {len(words)} words are wrong, the first at "
                f"{offset + 4 * first:#x}: wrote {int(words[first]):#010x}, read {int(read[first]):#010x}. "
                "Reset the board and try again; if it stays, the memory, its clock or its levelling is bad"
            )
